// The parts of Node's `assert` that scripts use.
const { isDeepStrictEqual, inspect } = require('util')

class AssertionError extends Error {
  constructor(message) {
    super(message)
    this.name = 'AssertionError'
    this.code = 'ERR_ASSERTION'
  }
}
const check = (ok, message, otherwise) => {
  if (ok) return
  throw message instanceof Error ? message : new AssertionError(message || otherwise)
}
const assert = (value, message) => check(value, message, `${inspect(value)} is not truthy`)
module.exports = Object.assign(assert, {
  AssertionError,
  ok: assert,
  fail: message => check(false, message, 'Failed'),
  equal: (a, b, message) => check(a == b, message, `${inspect(a)} == ${inspect(b)}`),
  notEqual: (a, b, message) => check(a != b, message, `${inspect(a)} != ${inspect(b)}`),
  strictEqual: (a, b, message) => check(Object.is(a, b), message, `${inspect(a)} === ${inspect(b)}`),
  notStrictEqual: (a, b, message) => check(!Object.is(a, b), message, `${inspect(a)} !== ${inspect(b)}`),
  deepEqual: (a, b, message) => check(isDeepStrictEqual(a, b), message, `${inspect(a)} deepEqual ${inspect(b)}`),
  deepStrictEqual: (a, b, message) => check(isDeepStrictEqual(a, b), message, `${inspect(a)} deepEqual ${inspect(b)}`)
})
