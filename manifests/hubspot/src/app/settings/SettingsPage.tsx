import { hubspot } from '@hubspot/ui-extensions';

import { About } from './About';

hubspot.extend<'settings'>(() => <About />);
