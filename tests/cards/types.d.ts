/** What a Salesforce record page offers, as far as the component uses it. */
declare module 'lightning/uiRecordApi' {
  import type { Value } from './build/salesforce/force-app/main/default/lwc/leadlightCard/prediction';

  type Answer = { data?: { fields: Record<string, { value: Value }> }; error?: unknown };
  type Config = { recordId?: string; fields?: string[]; optionalFields?: string[] };

  export class getRecord {
    constructor(give: (answer: Answer) => void);
    connect(): void;
    disconnect(): void;
    update(config: Config): void;
  }
}
