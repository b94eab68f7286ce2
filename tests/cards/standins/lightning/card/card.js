import { LightningElement, api } from 'lwc';

/** Stands for lightning-card: a title and what is put in. */
export default class Card extends LightningElement {
    @api title;
    @api iconName;
}
