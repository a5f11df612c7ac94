// Random and time-based UUIDs.
const { randomBytes, randomUUID } = require('crypto')
const shape = /^(?:[\da-f]{8}-[\da-f]{4}-[1-8][\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}|0{8}-0{4}-0{4}-0{4}-0{12})$/i
const v1 = () => {
  const ticks = BigInt(Date.now()) * 10000n + 122192928000000000n + BigInt(randomBytes(2).readUInt16BE() % 10000)
  const time = ticks.toString(16).padStart(15, '0')
  const rest = randomBytes(8)
  rest[0] = (rest[0] & 63) | 128
  rest[2] |= 1
  const tail = rest.toString('hex')
  return `${time.slice(7)}-${time.slice(3, 7)}-1${time.slice(0, 3)}-${tail.slice(0, 4)}-${tail.slice(4)}`
}
const v4 = options => {
  if (!options || !options.random) return randomUUID()
  const bytes = Buffer.from(options.random)
  bytes[6] = (bytes[6] & 15) | 64
  bytes[8] = (bytes[8] & 63) | 128
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
const validate = text => typeof text === 'string' && shape.test(text)
const uuid = () => v4()
module.exports = Object.assign(uuid, {
  v1,
  v4,
  validate,
  version: text => {
    if (!validate(text)) throw new TypeError('Invalid UUID')
    return parseInt(text[14], 16)
  },
  NIL: '00000000-0000-0000-0000-000000000000'
})
