/* LuCI's own rules (its eslint.config.mjs: js/recommended, scripts, its globals), as errors. */
import js from '@eslint/js';
import globals from 'globals';

const relaxed = { 'no-prototype-builtins': 'off', 'no-empty': 'off', 'no-regex-spaces': 'off', 'no-control-regex': 'off' };
const style = { 'no-unused-vars': [ 'error', { argsIgnorePattern: '^_', caughtErrors: 'none' } ], 'prefer-const': 'error', 'eqeqeq': 'off' };

export default [
	js.configs.recommended,
	{
		/* Modules of LuCI. LuCI gives each module the values that its 'require' lines name. */
		files: [ '**/htdocs/**/*.js' ],
		languageOptions: {
			sourceType: 'script',
			ecmaVersion: 2022,
			parserOptions: { ecmaFeatures: { globalReturn: true } },
			globals: {
				...globals.browser, _: 'readonly', L: 'readonly', E: 'readonly',
				...Object.fromEntries([ 'baseclass', 'daemon', 'dom', 'findings', 'form', 'fs', 'network', 'page', 'poll', 'request', 'rpc', 'rules', 'uci', 'ui', 'uqr', 'view', 'widgets' ].map(name => [ name, 'readonly' ]))
			}
		},
		plugins: { luci: { rules: {
			/* A module that is used but not required is loaded only by chance. One that is required but not used is loaded for nothing. */
			require: {
				create: context => ({
					'Program:exit'(node) {
						const text = context.sourceCode.text;
						const required = [ ...text.matchAll(/^'require ([\w.]+)(?: as (\w+))?';$/gm) ].map(([ , name, as ]) => as ?? name.split('.').pop());
						const body = text.replace(/^'require .*$/gm, '').replace(/\/\*[^]*?\*\//g, '').replace(/'(?:[^'\\\n]|\\.)*'/g, "''");

						for (const name of required)
							if (!new RegExp(`\\b${name}\\b`).test(body))
								context.report({ node, message: `'${name}' is required and not used` });
						for (const name of [ 'baseclass', 'daemon', 'dom', 'findings', 'form', 'network', 'page', 'poll', 'request', 'rpc', 'rules', 'uci', 'ui', 'view', 'widgets' ])
							if (!required.includes(name) && new RegExp(`(^|[^.\\w'])${name}\\.\\w`).test(body) && !new RegExp(`\\b(const|let) ${name}\\b`).test(body))
								context.report({ node, message: `'${name}' is used and not required` });
					}
				})
			}
		} } },
		rules: { ...relaxed, ...style, 'luci/require': 'error' }
	},
	{
		/* The knock page. */
		files: [ 'web/src/*.js', 'web/*.js' ],
		languageOptions: { ecmaVersion: 2024, globals: globals.browser },
		rules: style
	},
	{
		files: [ 'tests/luci/*.mjs', 'tests/page/*.mjs', 'web/*.mjs' ],
		languageOptions: { ecmaVersion: 2024, globals: { ...globals.node, document: 'readonly', innerWidth: 'readonly', location: 'readonly', window: 'readonly', L: 'readonly', Event: 'readonly' } },
		rules: style
	},
	{
		files: [ 'tests/luci/standin*.js' ],
		languageOptions: { sourceType: 'script', ecmaVersion: 2022, globals: { ...globals.browser, L: 'readonly', E: 'readonly' } },
		rules: style
	}
];
