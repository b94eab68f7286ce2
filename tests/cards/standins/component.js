/** The component with what a record page gives it, as one module: what `compile.js` starts from. */
export { createElement } from 'lwc';
export { default as LeadlightCard } from 'c/leadlightCard';
export { getRecord } from 'lightning/uiRecordApi';
