// The checker itself: it must find what is wrong, or all other suites prove less than they say.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { operationOf, operations, violations } from '../lib/contract.mjs'

const id = (prefix) => `${prefix}_01HZZZZZZZZZZZZZZZZZZZZZZZ`
const at = '2026-01-02T03:04:05.006Z'
const user = { id: id('user'), createdAt: at, updatedAt: at, tags: { a: 'b' } }

function check(method, target, status, body, contentType = 'application/json') {
  return violations({
    method, target, status,
    headers: { 'content-type': contentType },
    text: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

test('a documented answer passes', () => {
  assert.deepEqual(check('GET', '/v1/chat/users?tags.a=b', 200, { users: [user], meta: {} }), [])
  assert.deepEqual(check('POST', '/v1/chat/users', 201, { user }, 'application/json; charset=utf-8'), [])
  const error = { id: 'err_20260102030405x00FFA01B', code: 404, type: 'ResourceNotFound', message: 'No user' }
  assert.deepEqual(check('GET', `/v1/chat/users/${user.id}`, 404, error), [])
})

for (const [what, ...answer] of [
  ['a list without meta', 200, { users: [] }],
  ['an unknown field', 200, { users: [{ ...user, secret: 1 }], meta: {} }],
  ['a missing field', 200, { users: [{ ...user, tags: undefined }], meta: {} }],
  ['a field of another type', 200, { users: [{ ...user, tags: { a: 1 } }], meta: {} }],
  ['null where there is none', 200, { users: [{ ...user, name: null }], meta: {} }],
  ['a timestamp without milliseconds', 200, { users: [{ ...user, createdAt: '2026-01-02T03:04:05Z' }], meta: {} }],
  ['a short id', 200, { users: [{ ...user, id: 'user_1' }], meta: {} }],
  ['another status', 201, { users: [], meta: {} }],
  ['another media type', 200, { users: [], meta: {} }, 'text/plain'],
  ['no body', 200, ''],
  ['an error type nobody knows', 400, { id: 'err_20260102030405x00FFA01B', code: 400, type: 'Oops', message: 'm' }],
  ['an error without id', 400, { code: 400, type: 'InvalidPayload', message: 'm' }],
  ['an error whose code is not the status', 404, { id: 'err_20260102030405x00FFA01B', code: 400, type: 'InvalidPayload', message: 'm' }],
]) {
  test(`${what} is found`, () => assert.equal(check('GET', '/v1/chat/users', ...answer).length >= 1, true))
}

test('static segments win over parameters', () => {
  assert.equal(operationOf('GET', '/v1/admin/bots/baks?botId=x').id, 'listBotApiKeys')
  assert.equal(operationOf('POST', '/v1/chat/users/get-or-create').id, 'getOrCreateUser')
  assert.equal(operationOf('GET', '/v1/admin/integrations/a%2Fb/1.0.0').id, 'getIntegrationByName')
  assert.equal(operationOf('GET', '/v1/admin/integrations/x/logs').id, 'getIntegrationLogs')
  assert.equal(operationOf('GET', '/v1/chat/users/a/b'), undefined)
})

test('errors of unknown routes are checked too', () => {
  assert.equal(check('GET', '/v1/nothing', 405, 'Method Not Allowed', 'text/plain').length > 0, true)
})

test('every documented answer can be checked', () => {
  for (const operation of operations.filter(({ types }) => types.includes('application/json'))) assert.ok(Array.isArray(operation.validate({})), operation.id)
})
