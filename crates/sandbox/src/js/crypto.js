// Hashes and randomness, computed by the worker.
const { Buffer, binaryOf, toBinary } = require('buffer')
const binary = (data, encoding) => {
  if (typeof data === 'string') return toBinary(data, encoding)
  if (ArrayBuffer.isView(data)) return binaryOf(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  throw new TypeError('the data must be a text or a buffer')
}
const digester = finish => {
  let data = ''
  let done = false
  const self = {
    update(more, encoding) {
      if (done) throw new Error('Digest already called')
      data += binary(more, encoding)
      return self
    },
    digest(encoding) {
      if (done) throw new Error('Digest already called')
      done = true
      const bytes = Buffer.from(finish(data), 'latin1')
      return encoding && encoding !== 'buffer' ? bytes.toString(encoding) : bytes
    }
  }
  return self
}
const randomBytes = (size, callback) => {
  const bytes = Buffer.from(native.random(size), 'latin1')
  return callback ? void setTimeout(callback, 0, null, bytes) : bytes
}
const randomUUID = () => {
  const bytes = randomBytes(16)
  bytes[6] = (bytes[6] & 15) | 64
  bytes[8] = (bytes[8] & 63) | 128
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
const members = {
  createHash: name => {
    native.hash(String(name), '')
    return digester(data => native.hash(String(name), data))
  },
  createHmac: (name, key) => {
    const secret = binary(key)
    native.hash(String(name), '')
    return digester(data => native.hmac(String(name), secret, data))
  },
  randomBytes,
  randomUUID,
  randomInt: (low, high) => {
    if (high === undefined) [low, high] = [0, low]
    const span = high - low
    if (!Number.isSafeInteger(span) || span <= 0 || span > 2 ** 48) throw new RangeError('the range is not valid')
    const limit = 2 ** 48 - (2 ** 48 % span)
    for (;;) {
      const value = parseInt(randomBytes(6).toString('hex'), 16)
      if (value < limit) return low + (value % span)
    }
  },
  timingSafeEqual: (a, b) => {
    if (a.byteLength !== b.byteLength) throw new RangeError('Input buffers must have the same byte length')
    let different = 0
    for (let at = 0; at < a.length; at++) different |= a[at] ^ b[at]
    return different === 0
  },
  getHashes: () => ['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512']
}
module.exports = new Proxy(members, {
  get(target, name) {
    if (name in target || typeof name === 'symbol' || ['then', 'default', '__esModule', 'toJSON'].includes(name)) return target[name]
    throw new TypeError(`crypto.${name} is not available in scripts: there are ${Object.keys(target).join(', ')}`)
  }
})
