// Tag values: runtime.md § 9.

import { assert, every, once, pages, raw } from '../lib/harness.mjs'

every('the distinct values of a tag, ascending', 'listTagValues', async (w) => {
  const { client, say } = await w.scene()
  for (const city of ['rome', 'oslo', 'rome', 'bern']) await client.createUser({ tags: { city } })
  await client.createConversation({ channel: 'c', tags: { city: 'lima' } })
  await say('x', { tags: { city: 'kyiv' } })
  const values = async (type) => (await client.listTagValues({ type, key: 'city' })).tags
  assert.deepEqual(await values('user'), [{ value: 'bern' }, { value: 'oslo' }, { value: 'rome' }])
  assert.deepEqual(await values('conversation'), [{ value: 'lima' }])
  assert.deepEqual(await values('message'), [{ value: 'kyiv' }])
  const none = await client.listTagValues({ type: 'user', key: 'nothing' })
  assert.deepEqual(none, { tags: [], meta: {} })
})

every('keys may hold any character', 'listTagValues', async (w) => {
  const { client } = await w.asBot()
  for (const key of ['slack:id', 'a/b', 'ü ?&#', 'x.y']) {
    await client.createUser({ tags: { [key]: 'v' } })
    assert.deepEqual((await client.listTagValues({ type: 'user', key })).tags, [{ value: 'v' }])
  }
})

every('values of another bot are not shown; changed ones are', 'listTagValues', async (w) => {
  const other = await w.asBot()
  await other.client.createUser({ tags: { k: 'theirs' } })
  const { client } = await w.asBot()
  const { user } = await client.createUser({ tags: { k: 'old' } })
  await client.updateUser({ id: user.id, tags: { k: 'new' } })
  assert.deepEqual((await client.listTagValues({ type: 'user', key: 'k' })).tags, [{ value: 'new' }])
  await client.deleteUser({ id: user.id })
  assert.deepEqual((await client.listTagValues({ type: 'user', key: 'k' })).tags, [])
})

once('many values come in pages', async (w) => {
  const { client } = await w.asBot()
  const wanted = Array.from({ length: 23 }, (_, n) => `v${String(n).padStart(2, '0')}`)
  for (const k of wanted) await client.createUser({ tags: { k } })
  const chunks = await pages(async (nextToken) => {
    const page = await client.listTagValues({ type: 'user', key: 'k', pageSize: 10, nextToken })
    return { items: page.tags.map((t) => t.value), token: page.meta.nextToken }
  })
  assert.deepEqual(chunks.map((c) => c.length), [10, 10, 3])
  assert.deepEqual(chunks.flat(), wanted)
})

once('the type is required and known', async (w) => {
  const { id: botId } = await w.newBot()
  for (const query of ['', '?type=planet']) {
    const answer = await raw('GET', `/v1/chat/tags/k/values${query}`, { botId })
    assert.equal(answer.status, 400)
    assert.ok(['InvalidPayload', 'InvalidQuery'].includes(answer.body.type), answer.text)
  }
})
