// An HTTP client with the interface of axios, over the host's guarded client (`http.request`).
const merge = (first, second) => {
  const merged = { ...first }
  for (const [key, value] of Object.entries(second || {})) {
    const plain = value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype
    if (value === undefined) continue
    merged[key] = plain && key !== 'data' ? merge(typeof merged[key] === 'object' ? merged[key] : {}, value) : value
  }
  return merged
}

const encode = text =>
  encodeURIComponent(text).replace(/%3A/gi, ':').replace(/%24/g, '$').replace(/%2C/gi, ',').replace(/%20/g, '+').replace(/%5B/gi, '[').replace(/%5D/gi, ']')
const query = (params, serializer) => {
  if (serializer) return serializer(params)
  if (params instanceof URLSearchParams) return params.toString()
  const parts = []
  for (const [key, value] of Object.entries(params || {})) {
    if (value === null || value === undefined) continue
    const name = Array.isArray(value) ? `${key}[]` : key
    for (const item of Array.isArray(value) ? value : [value]) {
      const text = item instanceof Date ? item.toISOString() : item !== null && typeof item === 'object' ? JSON.stringify(item) : String(item)
      parts.push(`${encode(name)}=${encode(text)}`)
    }
  }
  return parts.join('&')
}
const absolute = url => /^([a-z][a-z\d+\-.]*:)?\/\//i.test(url)
const address = config => {
  let url = config.url || ''
  if (config.baseURL && !absolute(url)) url = url ? `${config.baseURL.replace(/\/+$/, '')}/${url.replace(/^\/+/, '')}` : config.baseURL
  const asked = query(config.params, config.paramsSerializer)
  if (asked) {
    url = url.split('#')[0]
    url += (url.includes('?') ? '&' : '?') + asked
  }
  return url
}

class AxiosError extends Error {
  constructor(message, code, config, request, response) {
    super(message)
    this.name = 'Error'
    this.code = code
    this.config = config
    this.request = request
    this.response = response
    this.isAxiosError = true
  }
  toJSON() {
    return { message: this.message, name: this.name, code: this.code, config: this.config, status: this.response && this.response.status }
  }
}

const methods = ['get', 'delete', 'head', 'options', 'post', 'put', 'patch']
const defaults = {
  timeout: 0,
  maxRedirects: 5,
  headers: { common: { Accept: 'application/json, text/plain, */*' }, post: {}, put: {}, patch: {}, get: {}, delete: {}, head: {} },
  validateStatus: status => status >= 200 && status < 300,
  transformRequest: [],
  transformResponse: []
}

const headersOf = config => {
  const given = config.headers || {}
  const headers = {}
  const add = more => {
    for (const [name, value] of Object.entries(more || {})) {
      if (value === undefined || value === null || typeof value === 'object' && !Array.isArray(value)) continue
      for (const known of Object.keys(headers)) if (known.toLowerCase() === name.toLowerCase()) delete headers[known]
      headers[name] = Array.isArray(value) ? value.join(', ') : String(value)
    }
  }
  add(given.common)
  add(given[config.method])
  const own = { ...given }
  for (const name of ['common', ...methods]) delete own[name]
  add(own)
  return headers
}
const header = (headers, name) => {
  const key = Object.keys(headers).find(key => key.toLowerCase() === name)
  return key && headers[key]
}

const bodyOf = (data, headers) => {
  const typed = header(headers, 'content-type')
  const say = type => {
    if (!typed) headers['Content-Type'] = type
  }
  if (data === undefined || data === null) return {}
  if (typeof data === 'string') {
    say('application/x-www-form-urlencoded')
    return { data }
  }
  if (data instanceof URLSearchParams) {
    say('application/x-www-form-urlencoded;charset=utf-8')
    return { data: data.toString() }
  }
  if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) return { data: Buffer.from(data).toString('base64'), base64: true }
  say('application/json;charset=utf-8')
  return { data: JSON.stringify(data) }
}

const read = (answer, type) => {
  if (type === 'arraybuffer') return Buffer.from(answer.data || '', answer.base64 ? 'base64' : 'utf8')
  const text = answer.base64 ? Buffer.from(answer.data, 'base64').toString('utf8') : answer.data || ''
  if (type === 'text') return text
  try {
    return JSON.parse(text)
  } catch (_) {
    return text
  }
}
const transform = (functions, data, headers) => [].concat(functions || []).reduce((data, change) => change(data, headers), data)

const send = async config => {
  if (config.responseType === 'stream') throw new AxiosError('streams are not available: use responseType "arraybuffer"', 'ERR_NOT_SUPPORT', config)
  const headers = headersOf(config)
  const { username, password } = config.auth || {}
  if (config.auth) headers.Authorization = 'Basic ' + Buffer.from(`${username || ''}:${password || ''}`).toString('base64')
  const body = bodyOf(transform(config.transformRequest, config.data, headers), headers)
  const request = { method: config.method.toUpperCase(), url: address(config), headers, ...body, maxRedirects: config.maxRedirects }
  if (config.timeout > 0) request.timeout = config.timeout
  if (config.maxContentLength > 0) request.maxContentLength = config.maxContentLength
  if (config.responseType === 'arraybuffer') request.binary = true
  let answer
  try {
    const { cancelToken, signal } = config
    if (cancelToken) cancelToken.throwIfRequested()
    if (signal && signal.aborted) throw new Cancel('canceled')
    const calls = [call('http.request', request)]
    if (cancelToken) calls.push(cancelToken.promise.then(reason => Promise.reject(reason)))
    answer = await Promise.race(calls)
  } catch (error) {
    if (error instanceof Cancel) throw error
    throw new AxiosError(error.message, undefined, config, request)
  }
  if (answer.error) {
    const { code, message } = answer.error
    throw new AxiosError(message, code || undefined, config, request)
  }
  const received = answer.headers || {}
  const response = { status: answer.status, statusText: answer.statusText || '', headers: received, config, request: { path: request.url, method: request.method } }
  response.data = transform(config.transformResponse, read(answer, config.responseType), received)
  if (config.validateStatus && !config.validateStatus(response.status)) {
    const code = response.status >= 500 ? 'ERR_BAD_RESPONSE' : 'ERR_BAD_REQUEST'
    throw new AxiosError(`Request failed with status code ${response.status}`, code, config, response.request, response)
  }
  return response
}

class Interceptors {
  constructor() {
    this.handlers = []
  }
  use(fulfilled, rejected) {
    this.handlers.push({ fulfilled, rejected })
    return this.handlers.length - 1
  }
  eject(id) {
    if (this.handlers[id]) this.handlers[id] = null
  }
  each(visit) {
    for (const handler of this.handlers) if (handler) visit(handler)
  }
}

class Cancel {
  constructor(message) {
    this.message = message
    this.__CANCEL__ = true
  }
}
class CancelToken {
  constructor(executor) {
    this.promise = new Promise(resolve => {
      executor(message => {
        if (this.reason) return
        this.reason = new Cancel(message)
        resolve(this.reason)
      })
    })
  }
  throwIfRequested() {
    if (this.reason) throw this.reason
  }
  static source() {
    let cancel
    const token = new CancelToken(found => (cancel = found))
    return { token, cancel }
  }
}

const create = base => {
  const client = (first, second) => client.request(first, second)
  client.defaults = merge(base, {})
  client.interceptors = { request: new Interceptors(), response: new Interceptors() }
  client.request = (first, second) => {
    const given = typeof first === 'string' ? { ...second, url: first } : first || {}
    const config = merge(client.defaults, given)
    config.method = String(config.method || 'get').toLowerCase()
    const before = []
    client.interceptors.request.each(handler => before.unshift(handler))
    let chain = Promise.resolve(config)
    for (const { fulfilled, rejected } of before) chain = chain.then(fulfilled, rejected)
    chain = chain.then(send)
    client.interceptors.response.each(({ fulfilled, rejected }) => {
      chain = chain.then(fulfilled, rejected)
    })
    return chain
  }
  for (const method of methods.slice(0, 4)) client[method] = (url, config) => client.request({ ...config, method, url })
  for (const method of methods.slice(4)) client[method] = (url, data, config) => client.request({ ...config, method, url, data })
  client.getUri = config => address(merge(client.defaults, config))
  return client
}

const axios = create(defaults)
module.exports = Object.assign(axios, {
  create: config => create(merge(axios.defaults, config)),
  all: promises => Promise.all(promises),
  spread: callback => values => callback(...values),
  isAxiosError: error => !!(error && error.isAxiosError),
  isCancel: value => !!(value && value.__CANCEL__),
  Cancel,
  CancelToken,
  AxiosError,
  VERSION: '0.21.1'
})
module.exports.default = axios
