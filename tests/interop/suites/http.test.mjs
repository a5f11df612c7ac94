// HTTP itself: errors.md §§ 2, 5, 6; runtime.md § 2; auth-and-identity.md § 1.

import { assert, nobody, ok, once, raw, refusedRaw, server } from '../lib/harness.mjs'

once('an unknown route or method is 405', async (w) => {
  const { id: botId } = await w.newBot()
  for (const [method, target] of [
    ['GET', '/v1/chat/nothing'],
    ['DELETE', '/v1/chat/conversations'],
    ['PATCH', '/v1/chat/conversations'],
    ['POST', `/v1/chat/conversations/${nobody('conv')}`],
    ['GET', '/v1/chat/conversations/'],
    ['GET', '/v1/nothing'],
    ['PUT', '/v1/admin/nothing/at/all'],
    ['GET', '/v1/storage/files/x/download'],
  ]) {
    await refusedRaw('MethodNotFound', method, target, { botId })
  }
  const anonymous = await raw('GET', '/v1/chat/nothing', { token: null })
  assert.equal(anonymous.body.type, 'MethodNotFound', 'the route is checked before the token')
})

once('a body that is not JSON is 415, before anything else about it', async (w) => {
  const { id: botId } = await w.newBot()
  for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
    await refusedRaw('UnsupportedMediaType', 'POST', '/v1/chat/users', {
      botId, text: '{"tags":{}}', headers: { 'content-type': type },
    })
  }
  const anonymous = await raw('POST', '/v1/chat/users', { token: null, text: 'x', headers: { 'content-type': 'text/plain' } })
  assert.equal(anonymous.body.type, 'UnsupportedMediaType', 'the media type is checked before the token')
  for (const type of ['application/json; charset=utf-8', 'Application/JSON']) {
    await ok('POST', '/v1/chat/users', { botId, body: { tags: {} }, headers: { 'content-type': type } })
  }
})

once('a body above the limit is 413', async (w) => {
  const { id: botId } = await w.newBot()
  const body = { tags: {}, pictureUrl: 'x'.repeat(9_000_000) }
  await refusedRaw('PayloadTooLarge', 'POST', '/v1/chat/users', { botId, body })
})

once('no token is 401, before the missing bot', async () => {
  await refusedRaw('Unauthorized', 'GET', '/v1/chat/users', { token: null })
  await refusedRaw('Unauthorized', 'GET', '/v1/chat/users', { token: 'wrong' })
  await refusedRaw('InvalidPayload', 'GET', '/v1/chat/users', {})
  await refusedRaw('ResourceNotFound', 'GET', '/v1/chat/users', { botId: nobody('bot') })
})

once('malformed JSON is refused', async (w) => {
  const { id: botId } = await w.newBot()
  for (const text of ['{', '{"tags":{}', '{"tags":{}} x', "{'tags':{}}", '[]', '"x"', '7', 'null', '{"tags":{},}', '\u00ff']) {
    await refusedRaw('InvalidPayload', 'POST', '/v1/chat/users', { botId, text })
  }
})

once('JSON nested too deep is refused, not crashed upon', async (w) => {
  const { id: botId } = await w.newBot()
  const deep = (n) => `{"type":"t","payload":{"a":${'['.repeat(n)}${']'.repeat(n)}}}`
  await ok('POST', '/v1/chat/events', { botId, text: deep(20) })
  for (const n of [500, 10_000, 60_000]) await refusedRaw('InvalidPayload', 'POST', '/v1/chat/events', { botId, text: deep(n) })
  const objects = `{"type":"t","payload":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`
  await refusedRaw('InvalidPayload', 'POST', '/v1/chat/events', { botId, text: objects })
  await ok('GET', '/v1/chat/events', { botId })
})

once('an empty or missing body is {}', async (w) => {
  const { id: botId } = await w.newBot()
  const admin = { headers: { 'x-workspace-id': server.workspaceId } }
  const { bot } = await ok('POST', '/v1/admin/bots', admin)
  assert.ok(bot.id)
  const { bot: again } = await ok('POST', '/v1/admin/bots', { headers: { ...admin.headers, 'content-type': 'application/json' } })
  assert.ok(again.id)
  const { message } = await refusedRaw('InvalidPayload', 'POST', '/v1/chat/users', { botId })
  assert.match(message, /tags/, 'the missing field is named, not the missing body')
  const { user } = await ok('GET', `/v1/chat/users/${botId}`, { botId })
  await ok('PUT', `/v1/chat/users/${user.id}`, { botId })
})

once('GET and DELETE ignore their bodies', async (w) => {
  const { bot, client } = await w.asBot()
  const botId = bot.id
  const { user } = await client.createUser({ tags: {} })
  assert.equal((await ok('GET', `/v1/chat/users/${user.id}`, { botId, body: {} })).user.id, user.id)
  assert.deepEqual(await ok('DELETE', `/v1/chat/users/${user.id}`, { botId, body: {} }), {})
  await refusedRaw('ResourceNotFound', 'DELETE', `/v1/chat/users/${user.id}`, { botId, text: 'not json', headers: { 'content-type': 'text/plain' } })
})

once('both spellings of object and array filters', async (w) => {
  const { bot, client } = await w.asBot()
  const botId = bot.id
  const { user } = await client.createUser({ tags: {} })
  const make = async (tags) => (await client.createConversation({ channel: 'c', tags })).conversation.id
  const a = await make({ 'x.y': 'a b', 'k[0]': '1' })
  const b = await make({ z: 'ä+&' })
  await client.addParticipant({ id: a, userId: user.id })
  const list = async (query) => (await ok('GET', `/v1/chat/conversations?${query}`, { botId })).conversations.map((c) => c.id)
  assert.deepEqual(await list('tags.x.y=a%20b'), [a])
  assert.deepEqual(await list('tags.x.y=a+b'), [a])
  assert.deepEqual(await list('tags[x.y]=a%20b'), [a])
  assert.deepEqual(await list('tags%5Bx.y%5D=a%20b'), [a])
  assert.deepEqual(await list('tags.z=%C3%A4%2B%26'), [b])
  assert.deepEqual(await list('tags.x.y=a%20b&tags.z=q'), [])
  for (const name of ['participantIds', 'participantIds[]', 'participantIds[0]', 'participantIds%5B%5D']) {
    assert.deepEqual(await list(`${name}=${user.id}`), [a])
  }
  assert.deepEqual(await list('tags.z='), [a], 'an empty value matches where the tag is absent')
  assert.deepEqual(await list('unknown=1&tags='), [b, a], 'unknown parameters are ignored')
})

once('unknown members of a body are ignored', async (w) => {
  const { id: botId } = await w.newBot()
  const { user } = await ok('POST', '/v1/chat/users', { botId, body: { tags: {}, surprise: { deep: [1] } } })
  assert.equal('surprise' in user, false)
})

once('path parameters are decoded once, after splitting', async (w) => {
  const { bot } = await w.asBot()
  const botId = bot.id
  const state = async (name, payload) => ok('POST', `/v1/chat/states/bot/${botId}/${name}`, { botId, body: { payload } })
  await state('a%2Fb', { n: 1 })
  await state('a%252Fb', { n: 2 })
  await state('%E2%82%AC', { n: 3 })
  const read = async (name) => (await ok('GET', `/v1/chat/states/bot/${botId}/${name}`, { botId })).state
  assert.deepEqual([(await read('a%2Fb')).name, (await read('a%2fb')).payload.n], ['a/b', 1])
  assert.equal((await read('a%252Fb')).name, 'a%2Fb')
  assert.equal((await read('%E2%82%AC')).name, '€')
  const bad = await raw('GET', `/v1/chat/states/bot/${botId}/%FF`, { botId })
  assert.ok([400, 404].includes(bad.status), `${bad.status}`)
})

once('texts with NUL are refused, not crashed upon', async (w) => {
  const { id: botId } = await w.newBot()
  await refusedRaw('InvalidPayload', 'POST', '/v1/chat/users', { botId, body: { tags: { a: 'x\u0000y' } } })
  await refusedRaw('InvalidPayload', 'POST', '/v1/chat/users', { botId, body: { tags: {}, name: '\u0000' } })
  const answer = await raw('GET', '/v1/chat/users/user_%00', { botId })
  assert.ok([400, 404].includes(answer.status), answer.text)
  const event = await raw('POST', '/v1/chat/events', { botId, body: { type: 't', payload: { text: 'a\u0000b' } } })
  assert.ok(event.status === 201 || event.status === 400, event.text)
})

once('answers are JSON without an Accept header, with security in mind', async (w) => {
  const { id: botId } = await w.newBot()
  const answer = await raw('GET', `/v1/chat/users/${botId}`, { botId, headers: { accept: 'text/html' } })
  assert.match(answer.headers['content-type'], /^application\/json/)
  assert.equal(answer.status, 200)
})

once('a preflight is answered for the asking origin', async () => {
  const answer = await raw('OPTIONS', '/v1/chat/conversations', {
    token: null,
    headers: {
      origin: 'https://app.example.com',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,x-bot-id,content-type',
    },
  })
  assert.ok(answer.status === 200 || answer.status === 204, `${answer.status}`)
  assert.equal(answer.headers['access-control-allow-origin'], 'https://app.example.com')
  assert.equal(answer.headers['access-control-allow-credentials'], 'true')
  assert.match(answer.headers['access-control-allow-methods'], /POST/)
  for (const name of ['authorization', 'x-bot-id', 'content-type']) {
    assert.match(answer.headers['access-control-allow-headers'].toLowerCase(), new RegExp(name))
  }
})

once('answers carry the origin too, errors included', async (w) => {
  const { id: botId } = await w.newBot()
  const headers = { origin: 'https://app.example.com' }
  for (const options of [{ botId, headers }, { token: null, headers }]) {
    const answer = await raw('GET', '/v1/chat/conversations', options)
    assert.equal(answer.headers['access-control-allow-origin'], 'https://app.example.com')
    assert.equal(answer.headers['access-control-allow-credentials'], 'true')
  }
})

once('the server is ready and alive', async () => {
  const ready = await raw('GET', '/ready', { token: null })
  assert.equal(ready.status, 200)
})

once('header names and values are taken as HTTP says', async (w) => {
  const { id } = await w.newBot()
  const answer = await raw('GET', `/v1/chat/users/${id}`, { headers: { 'X-BOT-ID': id } })
  assert.equal(answer.status, 200)
  await refusedRaw('ResourceNotFound', 'GET', '/v1/chat/users', { headers: { 'x-bot-id': 'short' } }).catch(async () => {
    await refusedRaw('InvalidPayload', 'GET', '/v1/chat/users', { headers: { 'x-bot-id': 'short' } })
  })
})
