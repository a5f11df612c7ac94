// The SDK that actions and hooks see as `bp`: each function is a host call of its dotted name.
const nothing = undefined
const orNull = value => (value === nothing ? null : value)
const quiet = name => typeof name === 'symbol' || name === 'then' || name === 'toJSON'

/** An object whose unknown members say what they are instead of being undefined. */
const guard = (name, members) =>
  new Proxy(members, {
    get(target, member) {
      if (member in target || quiet(member)) return target[member]
      throw new TypeError(`${name}.${member} is not supported`)
    }
  })

const advice = {
  database: 'scripts have no SQL: store data with bp.kvs, or call an HTTP service of your own with axios',
  realtime: 'send messages with bp.events.replyToEvent',
  messaging: 'send messages with bp.events.replyToEvent',
  experimental: 'these functions are not part of this server',
  workspaces: 'use the admin API',
  distributed: 'runs of one conversation are one after the other already',
  NLU: 'event.nlu has what was understood',
  MLToolkit: 'call an HTTP service of your own with axios'
}
/** A member that throws whatever is done with it, save asking for its type. */
const unsupported = name => {
  const refuse = () => {
    throw new Error(`bp.${name} is not available in scripts: ${advice[name]}`)
  }
  return new Proxy(function () {}, { get: (_, member) => (quiet(member) ? nothing : refuse()), apply: refuse, set: refuse, construct: refuse })
}

const addressOf = event => {
  const { botId, channel, target, threadId, id, messageId } = event || {}
  return { botId, channel, target, threadId, id, messageId }
}

const kvs = scope =>
  guard('bp.kvs', {
    get: async (key, path) => {
      const value = await call('kvs.get', scope, key, orNull(path))
      return value === null ? nothing : value
    },
    set: (key, value, path, expiry) => call('kvs.set', scope, key, orNull(value), orNull(path), orNull(expiry)),
    delete: key => call('kvs.delete', scope, key),
    exists: (key, path) => call('kvs.exists', scope, key, orNull(path)),
    setStorageWithExpiry: (key, value, expiry) => call('kvs.setStorageWithExpiry', scope, key, orNull(value), orNull(expiry)),
    getStorageWithExpiry: async key => {
      const value = await call('kvs.getStorageWithExpiry', scope, key)
      return value === null ? nothing : value
    },
    removeStorageKeysStartingWith: prefix => call('kvs.removeStorageKeysStartingWith', scope, prefix)
  })

const ghost = scope =>
  guard('bp.ghost', {
    readFileAsString: (dir, file) => call('ghost.readFileAsString', scope, dir, file),
    readFileAsBuffer: async (dir, file) => Buffer.from(await call('ghost.readFileAsBuffer', scope, dir, file), 'base64'),
    readFileAsObject: async (dir, file) => JSON.parse(await call('ghost.readFileAsString', scope, dir, file)),
    upsertFile: (dir, file, content) =>
      call('ghost.upsertFile', scope, dir, file, Buffer.isBuffer(content) ? { base64: content.toString('base64') } : String(content)),
    directoryListing: (dir, pattern) => call('ghost.directoryListing', scope, dir, orNull(pattern)),
    fileExists: (dir, file) => call('ghost.fileExists', scope, dir, file),
    deleteFile: (dir, file) => call('ghost.deleteFile', scope, dir, file)
  })

const logger = (line, botId) => {
  const at = level => (...args) => native.log(level, ((botId ? `[${botId}] ` : '') + line(args)).toWellFormed())
  const self = {
    info: at('info'),
    debug: at('debug'),
    warn: at('warn'),
    error: at('error'),
    critical: at('error'),
    forBot: id => logger(line, id),
    attachError: error => {
      native.log('error', String((error && error.stack) || error).toWellFormed())
      return self
    },
    persist: () => self,
    noEmit: () => self,
    level: () => self
  }
  return self
}

module.exports = ({ flags, dress, line }) => {
  const makers = {
    events: () => ({
      replyToEvent: (event, payloads, incomingEventId) =>
        call('events.replyToEvent', addressOf(event), payloads, orNull(incomingEventId)),
      sendEvent: event => call('events.sendEvent', event)
    }),
    cms: () => ({
      renderElement: (contentId, args, event) => call('cms.renderElement', contentId, args === nothing ? {} : args, orNull(event)),
      getContentElement: (botId, id, language) => call('cms.getContentElement', botId, id, orNull(language)),
      renderTemplate: (value, context) => call('cms.renderTemplate', value, orNull(context))
    }),
    kvs: () => ({
      forBot: botId => kvs(String(botId)),
      global: () => kvs(null),
      get: (botId, key, path) => kvs(String(botId)).get(key, path),
      set: (botId, key, value, path, expiry) => kvs(String(botId)).set(key, value, path, expiry),
      delete: (botId, key) => kvs(String(botId)).delete(key),
      getUserStorageKey: (user, name) => `storage/users/${user}/${name}`,
      getGlobalStorageKey: name => `storage/global/${name}`,
      getConversationStorageKey: (session, name) => `storage/conversation/${session}/${name}`
    }),
    users: () => ({
      getOrCreateUser: (channel, userId, botId) => call('users.getOrCreateUser', channel, userId, orNull(botId)),
      getAttributes: (channel, userId) => call('users.getAttributes', channel, userId),
      setAttributes: (channel, userId, attributes) => call('users.setAttributes', channel, userId, attributes),
      updateAttributes: (channel, userId, attributes) => call('users.updateAttributes', channel, userId, attributes)
    }),
    dialog: () => ({
      createId: event => call('dialog.createId', addressOf(event)),
      jumpTo: async (sessionId, event, flow, node) => {
        const moved = await call('dialog.jumpTo', sessionId, event, flow, orNull(node))
        if (moved && event) Object.assign((event.state = event.state || {}), moved)
      },
      deleteSession: (sessionId, botId) => call('dialog.deleteSession', sessionId, orNull(botId)),
      processEvent: async (sessionId, event) => {
        const changed = await call('dialog.processEvent', sessionId, event)
        return changed ? Object.assign(event, changed) : event
      }
    }),
    http: () => ({ getAxiosConfigForBot: (botId, options) => call('http.getAxiosConfigForBot', botId, orNull(options)) }),
    ghost: () => ({ forBot: botId => ghost(String(botId)), forGlobal: () => ghost(null) }),
    bots: () => ({ getBotById: botId => call('bots.getBotById', botId), getBots: () => call('bots.getBots') }),
    config: () => ({
      getModuleConfigForBot: (module, botId) => call('config.getModuleConfigForBot', module, botId),
      getModuleConfig: module => call('config.getModuleConfig', module),
      getBotpressConfig: () => call('config.getBotpressConfig')
    }),
    security: () => ({ getMessageSignature: text => call('security.getMessageSignature', text) }),
    IO: () => ({
      WellKnownFlags: guard('bp.IO.WellKnownFlags', flags),
      Event: args => {
        const { payload } = args
        const preview = args.preview || (payload && (payload.__preview || payload.preview || payload.text))
        const id = `${Date.now()}${String(Math.floor(Math.random() * 1e9)).padStart(9, '0')}`
        return dress({ id, createdOn: new Date(), suggestions: [], state: {}, ...args, preview }, [])
      }
    }),
    LoggerLevel: () => ({ Info: 'info', Warn: 'warn', Error: 'error', Debug: 'debug', Critical: 'critical' }),
    LogLevel: () => ({ PRODUCTION: 0, DEV: 1, DEBUG: 2 }),
    ButtonAction: () => ({ SaySomething: 'Say something', OpenUrl: 'Open URL', Postback: 'Postback' })
  }
  const made = { version: '12.31.0', logger: logger(line) }
  return new Proxy(made, {
    get(_, name) {
      if (name in made || typeof name === 'symbol') return made[name]
      if (Object.hasOwn(makers, name)) return (made[name] = guard(`bp.${name}`, makers[name]()))
      if (Object.hasOwn(advice, name)) return (made[name] = unsupported(name))
      return nothing
    },
    has: (_, name) => name in made || Object.hasOwn(makers, name)
  })
}
