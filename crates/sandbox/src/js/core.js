// The environment of one action, hook or content type, and the driver that the worker steers it by.
// `native` is only seen by this file and by our own modules.
(function (native) {
  const { parse, stringify } = JSON
  const { keys, assign, defineProperty } = Object
  const isArray = Array.isArray

  // ---- JSON ----

  const repaired = (key, value) => (typeof value === 'string' && !value.isWellFormed() ? value.toWellFormed() : value)
  const toJson = value => {
    const text = stringify(value)
    return text !== undefined && text.includes('\\ud') ? stringify(value, repaired) : text
  }

  /** The path at which a value can't become JSON, and why. */
  const offender = (value, path, above) => {
    if (typeof value === 'bigint') return `${path} is a BigInt`
    if (value === null || typeof value !== 'object') return null
    if (above.includes(value)) return `${path} refers back to itself`
    if (typeof value.toJSON === 'function') return null
    for (const key of keys(value)) {
      const found = offender(value[key], path ? `${path}.${key}` : key, [...above, value])
      if (found) return found
    }
    return null
  }
  const storable = (value, name) => {
    try {
      return toJson(value)
    } catch (error) {
      let why = null
      try {
        why = offender(value, name, [])
      } catch (_) {}
      throw why ? new TypeError(`${why} and can't be stored as JSON`) : error
    }
  }

  // ---- host calls ----

  const open = new Map()
  const call = (method, ...args) =>
    new Promise((resolve, reject) => {
      const json = storable(args.map(arg => (arg === undefined ? null : arg)), method)
      open.set(native.send(method, json), { resolve, reject })
    })

  // ---- timers ----

  const timers = new Map()
  let lastTimer = 0
  const start = (callback, delay, args, every) => {
    if (typeof callback !== 'function') throw new TypeError('a timer needs a function')
    delay = Math.min(Math.max(Number(delay) || 0, every ? 1 : 0), 2147483647)
    const id = ++lastTimer
    timers.set(id, { callback, args, delay, every, due: native.now() + delay })
    return id
  }
  const stop = id => void timers.delete(Number(id))
  const soonest = () => {
    let found
    for (const [id, timer] of timers) if (!found || timer.due < found[1].due) found = [id, timer]
    return found
  }

  // ---- modules ----

  const builtins = new Map()
  const builtin = name => {
    if (builtins.has(name)) return builtins.get(name).exports
    const body = native.builtin(name)
    if (!body) return undefined
    const module = { exports: {} }
    builtins.set(name, module)
    body(module.exports, module, builtin, native, call)
    return module.exports
  }

  const refused = {
    fs: 'scripts have no files: use bp.ghost, or require a .json file of the bot',
    'fs/promises': 'scripts have no files: use bp.ghost, or require a .json file of the bot',
    'fs-extra': 'scripts have no files: use bp.ghost, or require a .json file of the bot',
    http: "use require('axios')",
    https: "use require('axios')",
    http2: "use require('axios')",
    request: "use require('axios')",
    net: "scripts have no network of their own: use require('axios')",
    tls: "scripts have no network of their own: use require('axios')",
    dns: "scripts have no network of their own: use require('axios')",
    dgram: "scripts have no network of their own: use require('axios')",
    child_process: 'scripts start no programs: put that behind an HTTP service and call it with axios',
    cluster: 'scripts start no programs',
    worker_threads: 'scripts start no threads',
    vm: 'scripts run in a sandbox already',
    module: 'use require',
    os: 'scripts know nothing of the machine',
    process: 'the variable `process` has what scripts may know',
    v8: 'scripts run on another engine',
    inspector: 'scripts run on another engine',
    repl: 'scripts have no terminal',
    readline: 'scripts have no terminal',
    tty: 'scripts have no terminal',
    stream: 'there are no streams here: work with whole texts and buffers',
    zlib: 'there is no compression here: put that behind an HTTP service and call it with axios',
    knex: 'scripts have no database: use bp.kvs, or an HTTP service called with axios',
    'botpress/sdk': 'the variable `bp` is the SDK'
  }

  let hasFiles = false
  const loaded = new Map()
  const own = name => {
    if (name === 'timers') return timerFunctions
    if (name.startsWith('lodash/')) {
      const part = builtin('lodash')[name.slice(7)]
      if (part) return part
    }
    if (name === 'uuid/v4') return builtin('uuid').v4
    if (name === 'util/types') return builtin('util').types
    return ['bp', 'core'].includes(name) ? undefined : builtin(name)
  }
  const makeRequire = from => {
    const require = request => {
      if (typeof request !== 'string' || !request) throw new TypeError('require needs the name of a module')
      const node = request.startsWith('node:')
      const name = node ? request.slice(5) : request
      const file = hasFiles && !node ? native.file(from, request) : null
      if (file) return load(file[0], file[1])
      if (Object.hasOwn(refused, name)) {
        throw assign(new Error(`the module '${name}' is not available in scripts: ${refused[name]}`), { code: 'MODULE_NOT_FOUND' })
      }
      const found = own(name)
      if (found !== undefined) return found
      const what = /^[./]/.test(name)
        ? `there is no file '${name}' next to ${from}, in libraries/ or in shared_libs/`
        : `the package '${name}' is not there: put it, as pure JavaScript, into the bot's libraries/node_modules/${name.split('/').slice(0, name[0] === '@' ? 2 : 1).join('/')}`
      throw assign(new Error(`Cannot find module '${name}': ${what}`), { code: 'MODULE_NOT_FOUND' })
    }
    require.resolve = request => {
      const file = hasFiles ? native.file(from, request) : null
      return file ? file[0] : request
    }
    return require
  }
  const load = (path, source) => {
    const known = loaded.get(path)
    if (known) return known.exports
    const module = { exports: {}, id: path, filename: path, loaded: false }
    loaded.set(path, module)
    try {
      if (path.endsWith('.json')) module.exports = parse(source)
      else evaluate(module, path, source)
    } catch (error) {
      loaded.delete(path)
      throw error
    }
    module.loaded = true
    return module.exports
  }
  const moduleHead = '(function(exports,require,module,__filename,__dirname,process){'
  const evaluate = (module, path, source) => {
    let body
    try {
      body = native.compile(source, path, moduleHead, '})')
    } catch (error) {
      if (error instanceof SyntaxError && /^\s*(import|export)\b/m.test(source)) {
        error.message = `${path} is an ES module; only CommonJS modules (module.exports) can be required: ${error.message}`
      }
      throw error
    }
    body.call(module.exports, module.exports, makeRequire(path), module, path, path.replace(/\/?[^/]*$/, ''), processObject)
  }

  // ---- globals ----

  const inspect = (value, options) => builtin('util').inspect(value, options)
  const line = args => (args.every(arg => typeof arg === 'string' && !arg.includes('%')) ? args.join(' ') : builtin('util').format(...args))
  const logger = level => (...args) => native.log(level, line(args).toWellFormed())
  const console = {
    log: logger('info'),
    info: logger('info'),
    debug: logger('debug'),
    trace: logger('debug'),
    warn: logger('warn'),
    error: logger('error'),
    dir: value => native.log('info', inspect(value)),
    table: value => native.log('info', inspect(value)),
    assert: (ok, ...args) => void (ok || native.log('error', 'Assertion failed ' + line(args))),
    group: logger('info'),
    groupEnd() {},
    time() {},
    timeEnd() {}
  }
  const timerFunctions = {
    setTimeout: (callback, delay, ...args) => start(callback, delay, args, false),
    setInterval: (callback, delay, ...args) => start(callback, delay, args, true),
    setImmediate: (callback, ...args) => start(callback, 0, args, false),
    clearTimeout: stop,
    clearInterval: stop,
    clearImmediate: stop
  }
  const hidden = (target, name, value) => defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false })
  for (const name of keys(timerFunctions)) hidden(globalThis, name, timerFunctions[name])
  hidden(globalThis, 'console', console)
  hidden(globalThis, 'global', globalThis)
  const lazy = (name, make) =>
    defineProperty(globalThis, name, {
      configurable: true,
      enumerable: false,
      get() {
        const value = make()
        hidden(globalThis, name, value)
        return value
      },
      set(value) {
        hidden(globalThis, name, value)
      }
    })
  lazy('Buffer', () => builtin('buffer').Buffer)
  lazy('TextEncoder', () => builtin('buffer').TextEncoder)
  lazy('TextDecoder', () => builtin('buffer').TextDecoder)
  lazy('URL', () => builtin('url').URL)
  lazy('URLSearchParams', () => builtin('url').URLSearchParams)
  if (!globalThis.structuredClone) hidden(globalThis, 'structuredClone', value => builtin('lodash').cloneDeep(value))

  // ---- the event ----

  const flagSymbols = new Map()
  const flag = name => {
    if (!flagSymbols.has(name)) flagSymbols.set(name, Symbol(name))
    return flagSymbols.get(name)
  }
  const wellKnown = {}
  for (const name of ['SKIP_DIALOG_ENGINE', 'SKIP_QNA_PROCESSING', 'SKIP_NATIVE_NLU', 'FORCE_PERSIST_STATE']) wellKnown[name] = flag(name)
  const dress = (event, flags) => {
    const created = event.createdOn
    if (typeof created === 'string' || typeof created === 'number') {
      const date = new Date(created)
      if (!isNaN(date)) event.createdOn = date
    }
    if (event.flags === null || typeof event.flags !== 'object') hidden(event, 'flags', {})
    for (const name of flags) event.flags[flag(name)] = true
    hidden(event, 'setFlag', (name, value) => {
      event.flags[name] = value
    })
    hidden(event, 'hasFlag', name => !!event.flags[name])
    return event
  }
  const setFlags = event => {
    const found = event && event.flags
    if (!found || typeof found !== 'object') return []
    const names = Reflect.ownKeys(found).filter(key => found[key])
    return names.map(key => (typeof key === 'symbol' ? key.description || '' : key))
  }

  // ---- the run ----

  let processObject = {}
  let variables = {}
  let before = ''
  let outcome = null
  let promise = false
  let settledAt = null
  /** Milliseconds that work may go on after a script which returned no promise. */
  const background = 5000

  const sdk = () => builtin('bp')({ flags: wellKnown, dress, inspect, line })
  const settle = result => {
    promise = result !== null && (typeof result === 'object' || typeof result === 'function') && typeof result.then === 'function'
    if (!promise) outcome = { value: result }
    else {
      Promise.resolve(result).then(
        value => void (outcome = { value }),
        error => void (outcome = { error: { value: error } })
      )
    }
  }

  const scope = (name, source) => {
    const { event } = variables
    const state = (event && event.state) || {}
    const names = { event: undefined }
    if (event) {
      assign(names, {
        event,
        user: state.user || {},
        session: state.session || {},
        temp: state.temp || {},
        bot: state.bot || {},
        workflow: state.workflow || {}
      })
    }
    assign(names, { args: {} }, variables, {
      bp: /\bbp\b|eval|Function/.test(source) ? sdk() : undefined,
      printObject: value => native.log('info', inspect(value)),
      process: processObject,
      require: makeRequire(name),
      console
    })
    return names
  }
  const identifier = /^[A-Za-z_$][\w$]*$/

  return {
    begin(kind, name, source, json, flags, processJson, files, exported, args) {
      hasFiles = files
      before = json
      variables = parse(json)
      processObject = parse(processJson) || {}
      if (processObject.env === undefined) processObject.env = {}
      const { event } = variables
      if (event && typeof event === 'object') {
        dress(event, parse(flags))
        const { suggestions } = variables
        if (isArray(suggestions) && isArray(event.suggestions) && stringify(suggestions) === stringify(event.suggestions)) {
          variables.suggestions = event.suggestions
        }
      }
      if (kind === 'module') {
        const module = { exports: {}, id: name, filename: name }
        loaded.set(name, module)
        evaluate(module, name, source)
        const found = module.exports && module.exports.__esModule && module.exports.default ? module.exports.default : module.exports
        if (exported === undefined || exported === null) return settle(found)
        if (typeof found[exported] !== 'function') throw new TypeError(`${name} exports no function '${exported}'`)
        return settle(found[exported](...parse(args)))
      }
      const all = scope(name, source)
      const names = keys(all).filter(name => identifier.test(name))
      const body = native.compile(source, name, `(function(${names.join(',')}){return (function(){`, '}).call(this)})')
      settle(body.apply(globalThis, names.map(name => all[name])))
    },
    settled: () => {
      if (!outcome) return false
      if (settledAt === null) settledAt = native.now()
      // Who returned a promise has awaited what matters. Who did not may have left work to timers.
      const end = promise ? -Infinity : settledAt + background
      let dropped = 0
      for (const [id, timer] of timers) if (timer.every || timer.due > end || native.now() > end) dropped += timers.delete(id)
      if (dropped) native.log('debug', `${dropped} timer(s) still ran when the script ended, and were dropped: await what must happen`)
      return true
    },
    nextTimer() {
      const found = soonest()
      return found ? Math.max(0, found[1].due - native.now()) : -1
    },
    fireTimer() {
      const found = soonest()
      if (!found) return
      const [id, timer] = found
      if (timer.every) timer.due = native.now() + timer.delay
      else timers.delete(id)
      try {
        timer.callback(...timer.args)
      } catch (error) {
        if (!outcome) throw error
        native.log('error', line(['after the script ended:', error]).toWellFormed())
      }
    },
    answer(id, ok, text) {
      const waiting = open.get(id)
      open.delete(id)
      if (!waiting) return
      if (ok) waiting.resolve(parse(text))
      else waiting.reject(new Error(text))
    },
    rejected: () => (outcome && outcome.error) || null,
    promised: () => promise,
    result: () => {
      const text = outcome && storable(outcome.value, 'the result')
      return text === undefined ? null : text
    },
    variables: () => {
      if (toJsonOrNull(variables) === before) return null
      const kept = {}
      for (const name of keys(variables)) {
        const value = variables[name]
        if (name !== 'args' && value !== null && typeof value === 'object') kept[name] = value
      }
      return storable(kept, '')
    },
    flags: () => stringify(setFlags(variables.event))
  }

  function toJsonOrNull(value) {
    try {
      return toJson(value)
    } catch (_) {
      return null
    }
  }
})
