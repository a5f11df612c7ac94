// Buffers over Uint8Array, and the text codecs of the web. "Binary" texts have a character for each byte.
const binaryOf = (bytes, start = 0, end = bytes.length) => {
  let text = ''
  for (let at = start; at < end; at += 8192) text += String.fromCharCode.apply(null, bytes.subarray(at, Math.min(end, at + 8192)))
  return text
}
const fill = (bytes, binary) => {
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at)
  return bytes
}
const encoding = name => {
  const plain = String(name || 'utf8').toLowerCase().replace('-', '')
  const known = { utf8: 'utf8', hex: 'hex', base64: 'base64', base64url: 'base64url', latin1: 'latin1', binary: 'latin1', ascii: 'ascii', ucs2: 'utf16le', utf16le: 'utf16le' }[plain]
  if (!known) throw new TypeError(`Unknown encoding: ${name}`)
  return known
}
const toBinary = (text, name) => {
  switch (encoding(name)) {
    case 'utf8':
      return native.utf8(text.toWellFormed())
    case 'hex': {
      const digits = /^([\da-f]{2})*/i.exec(text)[0]
      let binary = ''
      for (let at = 0; at < digits.length; at += 2) binary += String.fromCharCode(parseInt(digits.slice(at, at + 2), 16))
      return binary
    }
    case 'base64':
    case 'base64url':
      return native.unbase64(text.toWellFormed())
    case 'utf16le': {
      let binary = ''
      for (let at = 0; at < text.length; at++) binary += String.fromCharCode(text.charCodeAt(at) & 255, text.charCodeAt(at) >> 8)
      return binary
    }
    default:
      return text.replace(/[^\0-\xff]/g, char => String.fromCharCode(char.charCodeAt(0) & 255))
  }
}
const fromBinary = (binary, name) => {
  switch (encoding(name)) {
    case 'utf8':
      return native.text(binary)
    case 'hex':
      return Array.from(binary, char => char.charCodeAt(0).toString(16).padStart(2, '0')).join('')
    case 'base64':
      return native.base64(binary)
    case 'base64url':
      return native.base64(binary).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
    case 'utf16le': {
      let text = ''
      for (let at = 0; at + 1 < binary.length; at += 2) text += String.fromCharCode(binary.charCodeAt(at) | (binary.charCodeAt(at + 1) << 8))
      return text
    }
    case 'ascii':
      return binary.replace(/[\x80-\xff]/g, char => String.fromCharCode(char.charCodeAt(0) & 127))
    default:
      return binary
  }
}

class Buffer extends Uint8Array {
  static from(value, second, third) {
    if (typeof value === 'string') {
      const binary = toBinary(value, second)
      return fill(new Buffer(binary.length), binary)
    }
    if (value instanceof ArrayBuffer) return new Buffer(value, second || 0, third === undefined ? value.byteLength - (second || 0) : third)
    if (value && value.type === 'Buffer' && Array.isArray(value.data)) return Buffer.from(value.data)
    if (value === null || typeof value !== 'object') throw new TypeError('Buffer.from needs a text, an array or a buffer')
    const bytes = ArrayBuffer.isView(value) && !(value instanceof Uint8Array) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : value
    const made = new Buffer(bytes.length)
    for (let at = 0; at < bytes.length; at++) made[at] = bytes[at]
    return made
  }
  static alloc(size, value, name) {
    const made = new Buffer(size)
    return value === undefined ? made : made.fill(value, 0, size, name)
  }
  static allocUnsafe(size) {
    return new Buffer(size)
  }
  static isBuffer(value) {
    return value instanceof Buffer
  }
  static isEncoding(name) {
    try {
      return !!encoding(name)
    } catch (_) {
      return false
    }
  }
  static byteLength(value, name) {
    return typeof value === 'string' ? toBinary(value, name).length : value.byteLength
  }
  static concat(list, total = list.reduce((sum, part) => sum + part.length, 0)) {
    const made = new Buffer(total)
    let at = 0
    for (const part of list) {
      made.set(part.length > total - at ? part.subarray(0, total - at) : part, at)
      at += part.length
      if (at >= total) break
    }
    return made
  }
  static compare(a, b) {
    const [x, y] = [binaryOf(a), binaryOf(b)]
    return x < y ? -1 : x > y ? 1 : 0
  }
  toString(name, start = 0, end = this.length) {
    return fromBinary(binaryOf(this, Math.max(0, start), Math.min(this.length, end)), name)
  }
  toJSON() {
    return { type: 'Buffer', data: Array.from(this) }
  }
  equals(other) {
    return Buffer.compare(this, other) === 0
  }
  slice(start, end) {
    return this.subarray(start, end)
  }
  write(text, offset = 0, length, name) {
    if (typeof offset === 'string') [name, offset] = [offset, 0]
    if (typeof length === 'string') [name, length] = [length, undefined]
    const binary = toBinary(text, name).slice(0, Math.min(length === undefined ? Infinity : length, this.length - offset))
    for (let at = 0; at < binary.length; at++) this[offset + at] = binary.charCodeAt(at)
    return binary.length
  }
  fill(value, start = 0, end = this.length, name) {
    if (typeof value !== 'string') return super.fill(value, start, end)
    const binary = toBinary(value, name)
    for (let at = start; binary && at < end; at++) this[at] = binary.charCodeAt((at - start) % binary.length)
    return this
  }
  copy(target, at = 0, start = 0, end = this.length) {
    const part = this.subarray(start, Math.min(end, start + target.length - at))
    target.set(part, at)
    return part.length
  }
  indexOf(value, from = 0, name) {
    if (typeof value === 'number') return super.indexOf(value, from)
    return binaryOf(this).indexOf(typeof value === 'string' ? toBinary(value, name) : binaryOf(value), from)
  }
  includes(value, from, name) {
    return this.indexOf(value, from, name) >= 0
  }
  readUInt8(at = 0) {
    return this[at]
  }
  readUInt16BE(at = 0) {
    return (this[at] << 8) | this[at + 1]
  }
  readUInt32BE(at = 0) {
    return ((this[at] << 24) | (this[at + 1] << 16) | (this[at + 2] << 8) | this[at + 3]) >>> 0
  }
  readUInt32LE(at = 0) {
    return ((this[at + 3] << 24) | (this[at + 2] << 16) | (this[at + 1] << 8) | this[at]) >>> 0
  }
}

class TextEncoder {
  get encoding() {
    return 'utf-8'
  }
  encode(text = '') {
    const binary = native.utf8(String(text).toWellFormed())
    return fill(new Uint8Array(binary.length), binary)
  }
}
class TextDecoder {
  constructor(name = 'utf-8') {
    this.encoding = name
  }
  decode(bytes = new Uint8Array(0)) {
    return Buffer.from(bytes).toString(this.encoding)
  }
}
module.exports = { Buffer, TextEncoder, TextDecoder, binaryOf, toBinary }
