import js from '@eslint/js'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'
import { layers } from './scripts/eslint-layers.mjs'

export default defineConfig([
  globalIgnores(['**/node_modules/', 'dist/', 'dist.new/', 'dist.old/', 'coverage/', '.millrace/']),
  // No rule is switched off in a comment; where one is wrong, it is changed here, with the reason.
  { linterOptions: { noInlineConfig: true } },
  js.configs.recommended,
  {
    files: ['**/*.{js,mjs}'],
    languageOptions: {
      globals: Object.fromEntries(Object.getOwnPropertyNames(globalThis).map(name => [name, 'readonly'])),
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // `void promise` hides a rejection as well as forgetting it does: handle it with `.catch`.
      '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: false }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/consistent-type-exports': 'error',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true, argsIgnorePattern: '^_' }],
      // noUncheckedIndexedAccess makes every `bytes[i]` of a bounded loop possibly undefined; elsewhere `!` is a guess.
      '@typescript-eslint/no-non-null-assertion': 'off',
      'no-restricted-syntax': [
        'error',
        {
          selector: 'TSNonNullExpression:not([expression.type="MemberExpression"][expression.computed=true])',
          message: 'Check for undefined: `!` is for an index that is known to be within bounds.',
        },
      ],
      // `async` turns what a function throws into a rejection, with or without an `await` in it.
      '@typescript-eslint/require-await': 'off',
      // Numbers in messages are the rule here, and String(n) around each only noise.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      // Spreading a string splits it by code points, which is what is meant by it.
      '@typescript-eslint/no-misused-spread': ['error', { allow: ['string'] }],
    },
  },
  {
    files: ['src/**/*.ts'],
    plugins: { millrace: { rules: { layers } } },
    rules: { 'millrace/layers': 'error' },
  },
  {
    files: ['test/**/*.ts'],
    // A test may guess: where the guess is wrong, the test fails.
    rules: { 'no-restricted-syntax': 'off' },
  },
])
