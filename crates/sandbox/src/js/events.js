// Node's EventEmitter.
class EventEmitter {
  #of = new Map()
  #list(name) {
    if (!this.#of.has(name)) this.#of.set(name, [])
    return this.#of.get(name)
  }
  on(name, listener) {
    this.#list(name).push(listener)
    return this
  }
  prependListener(name, listener) {
    this.#list(name).unshift(listener)
    return this
  }
  once(name, listener) {
    const once = (...args) => {
      this.off(name, once)
      listener.apply(this, args)
    }
    once.listener = listener
    return this.on(name, once)
  }
  off(name, listener) {
    const list = this.#list(name)
    const at = list.findIndex(known => known === listener || known.listener === listener)
    if (at >= 0) this.#of.set(name, list.filter((_, place) => place !== at))
    return this
  }
  emit(name, ...args) {
    const list = this.#list(name)
    if (!list.length && name === 'error') throw args[0] instanceof Error ? args[0] : new Error(`Unhandled error: ${args[0]}`)
    for (const listener of [...list]) listener.apply(this, args)
    return list.length > 0
  }
  removeAllListeners(name) {
    if (name === undefined) this.#of.clear()
    else this.#of.delete(name)
    return this
  }
  listeners(name) {
    return this.#list(name).map(listener => listener.listener || listener)
  }
  listenerCount(name) {
    return this.#list(name).length
  }
  eventNames() {
    return [...this.#of.keys()].filter(name => this.#list(name).length)
  }
  setMaxListeners() {
    return this
  }
}
EventEmitter.prototype.addListener = EventEmitter.prototype.on
EventEmitter.prototype.removeListener = EventEmitter.prototype.off
EventEmitter.EventEmitter = EventEmitter
EventEmitter.once = (emitter, name) =>
  new Promise((resolve, reject) => {
    emitter.once(name, (...args) => resolve(args))
    if (name !== 'error') emitter.once('error', reject)
  })
module.exports = EventEmitter
