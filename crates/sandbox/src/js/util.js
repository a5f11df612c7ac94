// Node's util as far as scripts use it.
const simple = /^[A-Za-z_$][\w$]*$/
const quote = text => (text.includes("'") ? JSON.stringify(text) : `'${text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}'`)
const show = (value, depth, above) => {
  if (typeof value === 'string') return quote(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'symbol') return value.toString()
  if (typeof value === 'function') return `[${/^class\b/.test(Function.prototype.toString.call(value)) ? 'class' : 'Function'}: ${value.name || '(anonymous)'}]`
  if (Object.is(value, -0)) return '-0'
  if (value === null || typeof value !== 'object') return String(value)
  if (above.includes(value)) return '[Circular]'
  if (value instanceof Date) return isNaN(value) ? 'Invalid Date' : value.toISOString()
  if (value instanceof RegExp) return String(value)
  if (value instanceof Error) return `${value.name}: ${value.message}` + (value.stack ? `\n${value.stack}`.trimEnd() : '')
  if (value instanceof Promise) return 'Promise {}'
  const name = value.constructor && value.constructor.name
  const title = name && name !== 'Object' && name !== 'Array' ? `${name} ` : ''
  if (depth < 0) return `[${name || 'Object'}]`
  const inner = [...above, value]
  const next = item => show(item, depth - 1, inner)
  const list = (items, open, close) => {
    if (!items.length) return `${title}${open}${close}`
    const more = items.length > 100 ? [`... ${items.length - 100} more`] : []
    const parts = [...items.slice(0, 100), ...more]
    const line = parts.join(', ')
    return line.length <= 72 && !line.includes('\n')
      ? `${title}${open} ${line} ${close}`
      : `${title}${open}\n${parts.map(part => '  ' + part.replace(/\n/g, '\n  ')).join(',\n')}\n${close}`
  }
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return list(Array.from(value).slice(0, 101).map(next), '[', ']')
  if (value instanceof Map) return list([...value].map(([key, item]) => `${next(key)} => ${next(item)}`), '{', '}')
  if (value instanceof Set) return list([...value].map(next), '{', '}')
  const entries = Object.keys(value).map(key => `${simple.test(key) ? key : quote(key)}: ${next(value[key])}`)
  return list(entries, '{', '}')
}
const inspect = (value, options) => {
  const depth = options && options.depth !== undefined ? (options.depth === null ? 50 : options.depth) : 2
  return show(value, depth, [])
}
const format = (...args) => {
  let at = 0
  let text = ''
  if (typeof args[0] === 'string') {
    at = 1
    text = args[0].replace(/%[sdifjoOc%]/g, mark => {
      if (mark === '%%') return '%'
      if (at >= args.length) return mark
      const value = args[at++]
      if (mark === '%s') return typeof value === 'object' && value !== null ? inspect(value, { depth: 0 }) : String(value)
      if (mark === '%d') return String(Number(value))
      if (mark === '%i') return String(parseInt(value, 10))
      if (mark === '%f') return String(parseFloat(value))
      if (mark === '%j') return JSON.stringify(value)
      return mark === '%c' ? '' : inspect(value, { depth: 4 })
    })
  }
  const rest = args.slice(at).map(arg => (typeof arg === 'string' ? arg : inspect(arg)))
  return [...(at ? [text] : []), ...rest].join(' ')
}
const promisify = original => {
  if (original[promisify.custom]) return original[promisify.custom]
  return function (...args) {
    return new Promise((resolve, reject) => original.call(this, ...args, (error, value) => (error ? reject(error) : resolve(value))))
  }
}
promisify.custom = Symbol.for('nodejs.util.promisify.custom')
const isDeepStrictEqual = (a, b) => require('lodash').isEqual(a, b)
const tag = name => value => Object.prototype.toString.call(value) === `[object ${name}]`
Object.assign(exports, {
  inspect,
  format,
  promisify,
  isDeepStrictEqual,
  callbackify: original => (...args) => {
    const done = args.pop()
    original(...args).then(value => done(null, value), error => done(error))
  },
  inherits: (child, parent) => Object.setPrototypeOf(child.prototype, parent.prototype),
  deprecate: original => original,
  isArray: Array.isArray,
  isString: value => typeof value === 'string',
  isFunction: value => typeof value === 'function',
  types: { isDate: tag('Date'), isRegExp: tag('RegExp'), isPromise: value => value instanceof Promise, isMap: tag('Map'), isSet: tag('Set') }
})
Object.defineProperty(exports, 'TextEncoder', { get: () => require('buffer').TextEncoder, enumerable: true })
Object.defineProperty(exports, 'TextDecoder', { get: () => require('buffer').TextDecoder, enumerable: true })
