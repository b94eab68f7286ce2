import babel from '@babel/eslint-parser';
import hubspot from '@hubspot/eslint-config-ui-extensions';
import lwc from '@lwc/eslint-plugin-lwc';
import typescript from 'typescript-eslint';

const CARD = 'build/hubspot/**/*.{ts,tsx,js}';
const COMPONENTS = ['build/salesforce/**/lwc/**/*.js', 'standins/lightning/**/*.js'];

export default [
  { ignores: ['node_modules/', 'build/*.js'] },
  ...typescript.configs.strict.map((config) => ({ ...config, files: [CARD, '*.ts', '*.tsx'] })),
  ...hubspot.configs.default.filter((config) => config.rules).map(({ rules, plugins }) => ({ rules, plugins, files: [CARD] })),
  {
    files: COMPONENTS,
    plugins: { '@lwc/lwc': lwc },
    languageOptions: {
      parser: babel,
      parserOptions: {
        requireConfigFile: false,
        babelOptions: { parserOpts: { plugins: [['decorators', { decoratorsBeforeExport: false }]] } },
      },
    },
    rules: {
      '@lwc/lwc/no-api-reassignments': 'error',
      '@lwc/lwc/no-async-operation': 'error',
      '@lwc/lwc/no-deprecated': 'error',
      '@lwc/lwc/no-document-query': 'error',
      '@lwc/lwc/no-inner-html': 'error',
      '@lwc/lwc/no-leading-uppercase-api-name': 'error',
      '@lwc/lwc/valid-api': 'error',
      '@lwc/lwc/valid-wire': 'error',
      'no-unused-vars': 'error',
      'no-undef': 'off',
      eqeqeq: 'error',
    },
  },
];
