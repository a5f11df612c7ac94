// URL and URLSearchParams as far as scripts use them, and Node's older url functions.
const encodeForm = text =>
  encodeURIComponent(text).replace(/%20/g, '+').replace(/[!'()~]/g, char => '%' + char.charCodeAt(0).toString(16).toUpperCase())
const decodeForm = text => {
  const spaced = text.replace(/\+/g, ' ')
  try {
    return decodeURIComponent(spaced)
  } catch (_) {
    return spaced
  }
}

class URLSearchParams {
  #pairs = []
  #changed
  constructor(init = '', changed = () => {}) {
    this.#changed = changed
    if (typeof init === 'string') {
      for (const part of init.replace(/^\?/, '').split('&')) {
        if (!part) continue
        const at = part.indexOf('=')
        this.#pairs.push(at < 0 ? [decodeForm(part), ''] : [decodeForm(part.slice(0, at)), decodeForm(part.slice(at + 1))])
      }
    } else if (init && typeof init[Symbol.iterator] === 'function') for (const [key, value] of init) this.#pairs.push([String(key), String(value)])
    else for (const key of Object.keys(init || {})) this.#pairs.push([key, String(init[key])])
  }
  append(key, value) {
    this.#pairs.push([String(key), String(value)])
    this.#changed()
  }
  delete(key) {
    this.#pairs = this.#pairs.filter(([known]) => known !== key)
    this.#changed()
  }
  get(key) {
    const found = this.#pairs.find(([known]) => known === key)
    return found ? found[1] : null
  }
  getAll(key) {
    return this.#pairs.filter(([known]) => known === key).map(([, value]) => value)
  }
  has(key) {
    return this.#pairs.some(([known]) => known === key)
  }
  set(key, value) {
    const at = this.#pairs.findIndex(([known]) => known === key)
    if (at < 0) return this.append(key, value)
    this.#pairs = this.#pairs.filter(([known], place) => known !== key || place === at)
    this.#pairs[at] = [String(key), String(value)]
    this.#changed()
  }
  sort() {
    this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    this.#changed()
  }
  forEach(visit) {
    for (const [key, value] of this.#pairs) visit(value, key, this)
  }
  *entries() {
    for (const [key, value] of this.#pairs) yield [key, value]
  }
  *keys() {
    for (const [key] of this.#pairs) yield key
  }
  *values() {
    for (const [, value] of this.#pairs) yield value
  }
  [Symbol.iterator]() {
    return this.entries()
  }
  get size() {
    return this.#pairs.length
  }
  toString() {
    return this.#pairs.map(([key, value]) => `${encodeForm(key)}=${encodeForm(value)}`).join('&')
  }
}

const ports = { 'http:': '80', 'https:': '443', 'ftp:': '21', 'ws:': '80', 'wss:': '443' }
const shape = /^([a-z][a-z\d+.-]*:)(?:\/\/(?:([^/?#@]*)@)?(\[[^\]]*\]|[^/?#:]*)(?::(\d*))?)?([^?#]*)(\?[^#]*)?(#.*)?$/i
const dots = path => {
  const parts = []
  const all = path.split('/')
  all.forEach((part, at) => {
    const last = at === all.length - 1
    if (part === '..') {
      if (parts.length > 1) parts.pop()
      if (last) parts.push('')
    } else if (part !== '.') parts.push(part)
    else if (last) parts.push('')
  })
  return parts.join('/')
}
const clean = (text, keep) => text.replace(keep, char => encodeURIComponent(char.toWellFormed()))
const invalid = text => Object.assign(new TypeError(`Invalid URL: ${text}`), { code: 'ERR_INVALID_URL', input: text })

class URL {
  constructor(text, base) {
    text = String(text).trim()
    if (!/^[a-z][a-z\d+.-]*:/i.test(text)) {
      if (base === undefined) throw invalid(text)
      const from = new URL(base)
      if (text.startsWith('//')) text = from.protocol + text
      else if (text.startsWith('/')) text = from.origin + text
      else if (text.startsWith('?')) text = from.origin + from.pathname + text
      else if (text.startsWith('#')) text = from.origin + from.pathname + from.search + text
      else if (text === '') text = from.origin + from.pathname + from.search
      else text = from.origin + from.pathname.replace(/[^/]*$/, '') + text
    }
    const found = shape.exec(text)
    if (!found) throw invalid(text)
    const [, protocol, user = '', host = '', port = '', path, search = '', hash = ''] = found
    this.protocol = protocol.toLowerCase()
    const special = this.protocol in ports
    if (special && (!host || /[\s<>^|%\\]/.test(host) || Number(port) > 65535)) throw invalid(text)
    const [name, ...rest] = user.split(':')
    this.username = name
    this.password = rest.join(':')
    this.hostname = host.toLowerCase()
    this.port = port === ports[this.protocol] ? '' : port
    this.pathname = special ? clean(dots(path.replace(/\\/g, '/')) || '/', /[\s"<>`{}]|[^\0-\x7f]+/g) : path
    this.hash = hash === '#' ? '' : hash
    let asked = search === '?' ? '' : clean(search, /[\s"<>']|[^\0-\x7f]+/g)
    let params
    Object.defineProperties(this, {
      search: {
        get: () => asked,
        set: value => {
          asked = value && value !== '?' ? (String(value)[0] === '?' ? '' : '?') + value : ''
          params = undefined
        }
      },
      searchParams: {
        get: () =>
          (params =
            params ||
            new URLSearchParams(asked, () => {
              const text = params.toString()
              asked = text ? `?${text}` : ''
            }))
      }
    })
  }
  get host() {
    return this.hostname + (this.port ? `:${this.port}` : '')
  }
  set host(value) {
    ;[this.hostname, this.port = ''] = String(value).split(':')
  }
  get origin() {
    return this.protocol in ports ? `${this.protocol}//${this.host}` : 'null'
  }
  get href() {
    const user = this.username || this.password ? `${this.username}${this.password ? `:${this.password}` : ''}@` : ''
    const slashes = this.hostname || this.protocol in ports || this.protocol === 'file:' ? '//' : ''
    return `${this.protocol}${slashes}${user}${this.host}${this.pathname}${this.search}${this.hash}`
  }
  toString() {
    return this.href
  }
  toJSON() {
    return this.href
  }
}

const parse = (text, withQuery) => {
  const found = /^(?:([a-z][a-z\d+.-]*:)(?:\/\/(?:([^/?#@]*)@)?([^/?#:]*)(?::(\d+))?)?)?([^?#]*)(\?[^#]*)?(#.*)?$/i.exec(String(text).trim()) || []
  const [href, protocol = null, auth = null, hostname = null, port = null, pathname = '', search = '', hash = null] = found
  const query = withQuery ? require('querystring').parse(search.slice(1)) : search ? search.slice(1) : null
  const host = hostname && (port ? `${hostname}:${port}` : hostname)
  return { protocol, slashes: /^[a-z][a-z\d+.-]*:\/\//i.test(text), auth, host, port, hostname, hash, search: search || null, query, pathname: pathname || (hostname ? '/' : null), path: (pathname || '/') + search, href }
}
const format = value => {
  if (typeof value === 'string') return value
  if (value instanceof URL) return value.href
  const { protocol = '', auth, hostname, port, pathname = '', query, hash = '' } = value
  const host = value.host || (hostname ? hostname + (port ? `:${port}` : '') : '')
  const asked = value.search || (query && typeof query === 'object' ? `?${require('querystring').stringify(query)}` : query ? `?${query}` : '')
  const scheme = protocol && (protocol.endsWith(':') ? protocol : `${protocol}:`)
  return `${scheme}${host ? '//' : ''}${auth ? `${auth}@` : ''}${host}${pathname}${asked === '?' ? '' : asked}${hash || ''}`
}
Object.assign(exports, { URL, URLSearchParams, parse, format, resolve: (from, to) => new URL(to, from).href })
