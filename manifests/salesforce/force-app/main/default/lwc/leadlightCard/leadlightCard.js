import { LightningElement, api, wire } from 'lwc';
import { getRecord } from 'lightning/uiRecordApi';

import { failed, fieldNames, loading, view } from './prediction';
import { settings } from './settings';

/**
 * What Leadlight predicts of the lead or contact on the page. Reads our fields, calls nothing else.
 */
export default class LeadlightCard extends LightningElement {
    /** @type {string | undefined} */
    @api recordId;
    /** @type {string | undefined} */
    @api objectApiName;

    /** @type {import('./prediction').View} */
    shown = loading();

    /** A field that the user may not see is absent from the answer: no error, as a required field would be one. */
    get optionalFields() {
        return this.objectApiName ? fieldNames(settings).map((name) => `${this.objectApiName}.${name}`) : undefined;
    }

    /** The record page must answer something: its id is always readable. */
    get fields() {
        return this.objectApiName ? [`${this.objectApiName}.Id`] : undefined;
    }

    /**
     * @param {{data?: {fields: Record<string, {value: import('./prediction').Value}>}, error?: unknown}} answer
     */
    @wire(getRecord, { recordId: '$recordId', fields: '$fields', optionalFields: '$optionalFields' })
    received({ data, error }) {
        if (error) {
            this.shown = failed(settings);
        } else if (data) {
            const values = Object.entries(data.fields).map(([name, field]) => [name, field.value]);
            this.shown = view(Object.fromEntries(values), settings, Date.now());
        }
    }

    get isLoading() {
        return this.shown.state === 'loading';
    }

    /** States that have nothing but words to show. */
    get isNotice() {
        return ['error', 'denied', 'empty'].includes(this.shown.state);
    }

    get bannerCss() {
        return this.shown.state === 'stale' ? 'banner warning' : 'banner';
    }

    get hasScore() {
        return this.shown.score !== null;
    }

    get gradeCss() {
        return ['A', 'B'].includes(this.shown.grade) ? 'tag good' : 'tag';
    }

    get confidenceLabel() {
        return this.shown.confidence ? `${this.shown.confidence.label} confidence` : '';
    }

    get hasReasonsFor() {
        return this.shown.reasonsFor.length > 0;
    }

    get hasReasonsAgainst() {
        return this.shown.reasonsAgainst.length > 0;
    }

    get written() {
        return this.shown.scored ? `Written ${this.shown.scored.age}: ${this.shown.scored.when}` : '';
    }
}
