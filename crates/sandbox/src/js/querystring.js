// Node's querystring.
const escape = text => encodeURIComponent(text)
const unescape = text => {
  try {
    return decodeURIComponent(text)
  } catch (_) {
    return text
  }
}
const plain = value => (['string', 'boolean', 'bigint'].includes(typeof value) || Number.isFinite(value) ? String(value) : '')
const stringify = (object, separator = '&', equals = '=') =>
  Object.entries(object || {})
    .flatMap(([key, value]) => [].concat(value).map(item => escape(key) + equals + escape(plain(item))))
    .join(separator)
const parse = (text, separator = '&', equals = '=') => {
  const found = Object.create(null)
  for (const part of String(text || '').split(separator)) {
    if (!part) continue
    const at = part.indexOf(equals)
    const clean = piece => unescape(piece.replace(/\+/g, ' '))
    const key = clean(at < 0 ? part : part.slice(0, at))
    const value = at < 0 ? '' : clean(part.slice(at + equals.length))
    found[key] = key in found ? [].concat(found[key], value) : value
  }
  return found
}
Object.assign(exports, { escape, unescape, stringify, parse, encode: stringify, decode: parse })
