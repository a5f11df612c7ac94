// The account and its tokens: admin.md § 3.

import { assert, every, nobody, recent, raw, once, server, unique } from '../lib/harness.mjs'

every('the account behind the token', 'getAccount', async (w) => {
  const { account } = await w.asAdmin().getAccount({})
  assert.match(account.id, /^[0-9a-f-]{36}$/)
  assert.match(account.email, /@/)
  assert.equal(typeof account.emailVerified, 'boolean')
})

every('the display name changes', 'updateAccount', async (w) => {
  const client = w.asAdmin()
  const displayName = unique('Name')
  const { account } = await client.updateAccount({ displayName })
  assert.equal(account.displayName, displayName)
  assert.equal((await client.getAccount({})).account.displayName, displayName)
  await w.refused('InvalidPayload', client.updateAccount({ displayName: 'n'.repeat(101) }))
})

every('a personal access token works until it is deleted', 'createPersonalAccessToken', async (w) => {
  const client = w.asAdmin()
  const note = unique('note')
  const { pat } = await client.createPersonalAccessToken({ note })
  assert.match(pat.value, /^bp_pat_\w{32,}$/)
  assert.equal(pat.note, note)
  recent(pat.createdAt)
  const { pats } = await client.listPersonalAccessTokens({})
  const listed = pats.find((one) => one.id === pat.id)
  assert.equal(listed.note, note)
  assert.equal('value' in listed, false, 'the value is shown once')
  const fresh = w.asAdmin({ token: pat.value })
  assert.deepEqual(await fresh.getAccount({}), await client.getAccount({}))
  assert.deepEqual(await fresh.deletePersonalAccessToken({ id: pat.id }), {}, 'deleting the token in use is allowed')
  await w.refused('Unauthorized', fresh.getAccount({}))
  await w.refused('ResourceNotFound', client.deletePersonalAccessToken({ id: pat.id }))
  await w.refused('ResourceNotFound', client.deletePersonalAccessToken({ id: nobody('pat') }))
  await w.refused('InvalidPayload', client.createPersonalAccessToken({}))
})

every('a wrong token is unauthorized', 'getAccount', async (w) => {
  for (const token of ['bp_pat_wrong', server.token.toUpperCase(), `${server.token}x`]) {
    await w.refused('Unauthorized', w.asAdmin({ token }).getAccount({}))
  }
})

once('the scheme is compared without regard to case, the token exactly', async () => {
  for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
    const answer = await raw('GET', '/v1/admin/account/me', { headers: { authorization: `${scheme} ${server.token}` } })
    assert.equal(answer.status, 200)
  }
  for (const authorization of [server.token, `Basic ${server.token}`, 'Bearer', 'Bearer ', '']) {
    const answer = await raw('GET', '/v1/admin/account/me', { headers: { authorization } })
    assert.equal(answer.body.type, 'Unauthorized', authorization)
  }
  assert.equal((await raw('GET', '/v1/admin/account/me', { token: null })).body.type, 'Unauthorized')
})

every('preferences keep any JSON; an unset one is null', 'setAccountPreference', async (w) => {
  const client = w.asAdmin()
  const key = unique('pref')
  assert.deepEqual(await client.getAccountPreference({ key }), { value: null })
  for (const value of [{ a: [1, null] }, 'text', 7, false]) {
    assert.deepEqual(await client.setAccountPreference({ key, value }), {})
    assert.deepEqual(await client.getAccountPreference({ key }), { value })
  }
})

every('the only owner of a workspace can’t leave', 'deleteAccount', async (w) => {
  const client = w.asAdmin()
  await w.refused('RelationConflict', client.deleteAccount({}))
  assert.ok((await client.getAccount({})).account.id)
})
