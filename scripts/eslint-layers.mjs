import { dirname, join, relative, resolve, sep } from 'node:path'

/** What stands in src/, from low to high; what stands side by side does not import one another. */
const LAYERS = [
  ['errors.ts'],
  ['runtime'],
  ['code'],
  ['protocol'],
  ['store'],
  ['embedded'],
  ['recovery'],
  ['driver', 'worker', 'observe'],
  ['dashboard'],
  ['cli'],
  ['index.ts'],
]

/** ESLint rule for src/: a file imports from its own folder or from lower layers, type imports included. */
export const layers = {
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      unknown: 'src/{{from}} is in no layer: add it to LAYERS in scripts/eslint-layers.mjs.',
      upward: 'src/{{from}} must not import src/{{to}}, which is a higher layer.',
      sideways: 'src/{{from}} must not import src/{{to}}, which stands beside it.',
      outside: "src/{{from}} must not import '{{specifier}}', which is outside of src.",
      self: "src/{{from}} must not import '{{specifier}}', the package itself: import the file that defines it.",
      redis: "src/{{from}} must not import '{{specifier}}': only src/store knows the Redis client.",
    },
  },
  create(context) {
    const src = join(context.cwd, 'src')
    const partOf = path => relative(src, path).split(sep)[0]
    const from = partOf(context.filename)

    function judge(specifier) {
      if (isOfPackage(specifier, 'millrace')) return 'self'
      if (isOfPackage(specifier, 'ioredis') && from !== 'store') return 'redis'
      if (!specifier.startsWith('.')) return undefined
      const to = partOf(resolve(dirname(context.filename), specifier))
      if (to === '..') return 'outside'
      if (rankOf(to) > rankOf(from)) return 'upward'
      return rankOf(to) === rankOf(from) && to !== from ? 'sideways' : undefined
    }

    function check({ source }) {
      if (typeof source?.value !== 'string') return
      const messageId = judge(source.value)
      if (!messageId) return
      const to = partOf(resolve(dirname(context.filename), source.value))
      context.report({ node: source, messageId, data: { from, to, specifier: source.value } })
    }

    return {
      Program(node) {
        if (rankOf(from) < 0) context.report({ node, messageId: 'unknown', data: { from } })
      },
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
      TSImportType: check,
    }
  },
}

function isOfPackage(specifier, name) {
  return specifier === name || specifier.startsWith(`${name}/`)
}

function rankOf(part) {
  return LAYERS.findIndex(layer => layer.includes(part))
}
