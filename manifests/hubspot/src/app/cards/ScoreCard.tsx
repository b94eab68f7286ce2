import { hubspot } from '@hubspot/ui-extensions';

import { Prediction } from './Prediction';

hubspot.extend<'crm.record.tab'>(() => <Prediction />);
