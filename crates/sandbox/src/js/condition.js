// The context in which the conditions of one owner are evaluated. Everything in it is frozen, so one
// evaluation leaves nothing to the next.
(function (native) {
  'use strict'
  const { parse, stringify } = JSON
  const { freeze, getOwnPropertyDescriptors, getPrototypeOf } = Object

  const state = { outcome: 2, error: null, variables: null, before: '', pure: true, logs: [] }
  const text = args => args.map(arg => (typeof arg === 'string' ? arg : stringify(arg) ?? String(arg))).join(' ')
  const log = level => (...args) => void (state.logs.length < 100 && state.logs.push({ level, text: text(args).slice(0, 1000).toWellFormed() }))
  const console = { log: log('info'), info: log('info'), debug: log('debug'), warn: log('warn'), error: log('error') }
  const require = name => {
    throw new Error(`conditions can't require modules ('${name}'): use an action`)
  }

  const modules = {}
  const builtin = name => {
    if (!modules[name]) {
      const module = (modules[name] = { exports: {} })
      native.builtin(name)(module.exports, module, builtin, native, undefined)
    }
    return modules[name].exports
  }
  const { Buffer } = builtin('buffer')

  const seen = new Set()
  const harden = root => {
    const left = [root]
    while (left.length) {
      const value = left.pop()
      if (value === null || (typeof value !== 'object' && typeof value !== 'function') || seen.has(value)) continue
      seen.add(value)
      if (!ArrayBuffer.isView(value)) freeze(value)
      left.push(getPrototypeOf(value))
      const descriptors = getOwnPropertyDescriptors(value)
      for (const key of Reflect.ownKeys(descriptors)) {
        const { value, get, set } = descriptors[key]
        left.push(value, get, set)
      }
    }
  }

  const event = variables => {
    const event = variables.event || {}
    const created = event.createdOn
    if (typeof created === 'string' || typeof created === 'number') event.createdOn = new Date(created)
    return event
  }
  const settle = value => void (state.outcome = value ? 1 : 0)

  const driver = {
    freeze: value => {
      freeze(value.prototype)
      return freeze(value)
    },
    evaluate(condition, json, pure) {
      const variables = parse(json)
      state.outcome = 2
      state.error = null
      state.logs = []
      state.variables = variables
      state.before = json
      state.pure = pure
      const e = event(variables)
      const s = e.state || {}
      const result = condition(e, s.user || {}, s.session || {}, s.temp || {}, s.bot || {}, s.workflow || {}, console, Buffer, require)
      if (result !== null && typeof result === 'object' && typeof result.then === 'function') {
        Promise.resolve(result).then(settle, error => void (state.error = { error }))
        return 2
      }
      settle(result)
      return state.outcome
    },
    settled() {
      if (state.error) throw state.error.error
      return state.outcome
    },
    changed() {
      if (state.pure) return null
      let json = stringify(state.variables)
      if (json.includes('\\ud')) json = stringify(state.variables, (_, value) => (typeof value === 'string' ? value.toWellFormed() : value))
      return json === state.before ? null : json
    },
    logs: () => (state.logs.length ? stringify(state.logs) : null)
  }
  Object.defineProperty(globalThis, 'global', { value: globalThis })
  harden(globalThis)
  for (const sample of [console, Buffer, require, function* () {}, async () => {}, async function* () {}, (function* () {})(), [].values(), new Map().entries(), new Set().values(), 'a'.matchAll(/a/g), ''[Symbol.iterator]()]) harden(sample)
  return driver
})
