// Users: runtime.md §§ 6, 9.

import { assert, every, nobody, once, recent, refusedRaw, sleep, unique } from '../lib/harness.mjs'

every('a user is created as asked and read back', ['createUser', 'getUser'], async (w) => {
  const { client } = await w.asBot()
  const { user } = await client.createUser({
    name: 'Ada',
    pictureUrl: 'https://example.com/ada.png',
    tags: { id: 'u1', none: '' },
  })
  assert.match(user.id, /^user_[0-9A-HJKMNP-TV-Z]{26}$/)
  assert.equal(user.name, 'Ada')
  assert.equal(user.pictureUrl, 'https://example.com/ada.png')
  assert.deepEqual(user.tags, { id: 'u1' })
  recent(user.createdAt)
  assert.equal(user.updatedAt, user.createdAt)
  assert.deepEqual((await client.getUser({ id: user.id })).user, user)
})

every('a user without name or picture has neither', 'createUser', async (w) => {
  const { client } = await w.asBot()
  const { user } = await client.createUser({ tags: {} })
  assert.equal('name' in user || 'pictureUrl' in user, false)
})

every('unknown users are not found, foreign ones neither', 'getUser', async (w) => {
  const { client } = await w.asBot()
  const stranger = (await w.scene()).user
  for (const id of [nobody('user'), stranger.id, nobody('conv')]) {
    await w.refused('ResourceNotFound', client.getUser({ id }))
    await w.refused('ResourceNotFound', client.updateUser({ id, name: 'x' }))
    await w.refused('ResourceNotFound', client.deleteUser({ id }))
  }
})

every('malformed users are refused', 'createUser', async (w) => {
  const { client } = await w.asBot()
  await w.refused('InvalidPayload', client.createUser({}))
  await w.refused('InvalidPayload', client.createUser({ tags: 'none' }))
  await w.refused('InvalidPayload', client.createUser({ tags: {}, name: 'n'.repeat(201) }))
  await w.refused('InvalidPayload', client.createUser({ tags: {}, pictureUrl: 'p'.repeat(40001) }))
  await w.refused('InvalidPayload', client.createUser({ tags: { a: 'x'.repeat(501) } }))
  await w.refused('ReferenceNotFound', client.createUser({ tags: {}, integrationName: 'not-installed' }))
  const { user } = await client.createUser({ tags: {}, name: 'ñ'.repeat(200), pictureUrl: 'p'.repeat(40000) })
  assert.equal(user.pictureUrl.length, 40000)
})

every('update: absent is kept, tags merge', 'updateUser', async (w) => {
  const { client } = await w.asBot()
  const { user } = await client.createUser({ name: 'Ada', pictureUrl: 'p', tags: { a: '1', b: '2' } })
  await sleep(5)
  const { user: updated } = await client.updateUser({ id: user.id, tags: { a: '', c: '3' }, name: 'Grace' })
  assert.equal(updated.name, 'Grace')
  assert.equal(updated.pictureUrl, 'p')
  assert.deepEqual(updated.tags, { b: '2', c: '3' })
  assert.ok(updated.updatedAt > user.updatedAt)
  assert.deepEqual((await client.getUser({ id: user.id })).user, updated)
  await w.refused('InvalidPayload', client.updateUser({ id: user.id, name: 'n'.repeat(201) }))
})

every('update: null clears name and picture', 'updateUser', async (w) => {
  const { client } = await w.asBot()
  const { user } = await client.createUser({ name: 'Ada', pictureUrl: 'p', tags: {} })
  const { user: cleared } = await client.updateUser({ id: user.id, name: null, pictureUrl: null })
  assert.equal('name' in cleared || 'pictureUrl' in cleared, false)
})

once('update: properties are replaced, attributes merged', async (w) => {
  const { client } = await w.asBot()
  const { user } = await client.createUser({ tags: {}, properties: { a: '1', b: '2' }, attributes: { a: '1', b: '2' } })
  assert.deepEqual([user.properties, user.attributes], [{ a: '1', b: '2' }, { a: '1', b: '2' }])
  const { user: updated } = await client.updateUser({ id: user.id, properties: { c: '3' }, attributes: { a: null, c: '3' } })
  assert.deepEqual(updated.properties, { c: '3' })
  assert.deepEqual(updated.attributes, { b: '2', c: '3' })
  const { user: kept } = await client.updateUser({ id: user.id, name: 'n' })
  assert.deepEqual([kept.properties, kept.attributes], [{ c: '3' }, { b: '2', c: '3' }])
})

every('delete takes states and participations along; messages stay', 'deleteUser', async (w) => {
  const { client, conversation, user, say } = await w.scene()
  const message = await say('I was here')
  await client.setState({ type: 'user', id: user.id, name: 's', payload: {} })
  assert.deepEqual(await client.deleteUser({ id: user.id }), {})
  await w.refused('ResourceNotFound', client.getUser({ id: user.id }))
  await w.refused('ResourceNotFound', client.deleteUser({ id: user.id }))
  await w.refused('ResourceNotFound', client.getState({ type: 'user', id: user.id, name: 's' }))
  assert.deepEqual((await client.listParticipants({ id: conversation.id })).participants, [])
  assert.deepEqual((await client.getMessage({ id: message.id })).message, message)
})

every('the bot’s own user exists and cannot be deleted', 'deleteUser', async (w) => {
  const { bot, client } = await w.asBot()
  const { user } = await client.getUser({ id: bot.id })
  assert.equal(user.id, bot.id)
  assert.equal(user.name, bot.name)
  assert.deepEqual(user.tags, {})
  await w.refused('ReferenceConstraint', client.deleteUser({ id: bot.id }))
})

every('get-or-create returns an existing user unmodified', 'getOrCreateUser', async (w) => {
  const { client } = await w.asBot()
  const tags = { id: unique() }
  const first = await client.getOrCreateUser({ tags, name: 'Ada' })
  assert.equal(first.meta.created, true)
  const again = await client.getOrCreateUser({ tags, name: 'Grace', pictureUrl: 'p' })
  assert.equal(again.meta.created, false)
  assert.deepEqual(again.user, first.user)
  const more = await client.getOrCreateUser({ tags: { ...tags, team: 'x' } })
  assert.equal(more.meta.created, true, 'an extra tag is another user')
  const [one, two] = [await client.getOrCreateUser({ tags: {} }), await client.getOrCreateUser({ tags: {} })]
  assert.notEqual(one.user.id, two.user.id, 'nothing to compare: always created')
  await w.refused('ReferenceNotFound', client.getOrCreateUser({ tags: { id: unique() }, integrationName: 'not-installed' }))
})

every('get-or-create compares only discriminateByTags', ['getOrCreateUser', '>=1.16'], async (w) => {
  const { client } = await w.asBot()
  const id = unique()
  const first = await client.getOrCreateUser({ tags: { id, locale: 'fr' }, discriminateByTags: ['id'] })
  const second = await client.getOrCreateUser({ tags: { id, locale: 'en' }, discriminateByTags: ['id'] })
  assert.deepEqual(second.user, first.user)
})

every('get-or-create is atomic: many at once make one', 'getOrCreateUser', async (w) => {
  const { client } = await w.asBot()
  const tags = { id: unique() }
  const all = await Promise.all(Array.from({ length: 24 }, () => client.getOrCreateUser({ tags })))
  assert.equal(new Set(all.map((one) => one.user.id)).size, 1)
  assert.equal(all.filter((one) => one.meta.created).length, 1)
})

every('list filters by tags and by conversation', 'listUsers', async (w) => {
  const { client, conversation, user, say } = await w.scene()
  const { user: tagged } = await client.createUser({ tags: { 'a:b.c': 'd e' } })
  const { user: added } = await client.createUser({ tags: {} })
  await client.addParticipant({ id: conversation.id, userId: added.id })
  await say('an author participates')
  const list = async (filter) => (await client.listUsers(filter)).users.map((u) => u.id)
  assert.deepEqual(await list({ tags: { 'a:b.c': 'd e' } }), [tagged.id])
  assert.deepEqual(await list({ conversationId: conversation.id }), [added.id, user.id])
  await client.removeParticipant({ id: conversation.id, userId: user.id })
  assert.deepEqual(await list({ conversationId: conversation.id }), [added.id, user.id], 'authors stay')
  assert.deepEqual(await list({ conversationId: nobody('conv') }), [])
  const everyone = await list({})
  for (const one of [user, tagged, added]) assert.ok(everyone.includes(one.id))
})

once('list filters by dates and sorts', async (w) => {
  const { bot, client } = await w.asBot()
  const made = []
  for (let n = 0; n < 3; n++) {
    made.push((await client.createUser({ tags: { group: 'g' } })).user)
    await sleep(5)
  }
  const { user: touched } = await client.updateUser({ id: made[0].id, name: 'x' })
  const ids = made.map((u) => u.id)
  const list = async (filter) =>
    (await client.listUsers({ tags: { group: 'g' }, ...filter })).users.map((u) => ids.indexOf(u.id))
  assert.deepEqual(await list({}), [2, 1, 0])
  assert.deepEqual(await list({ sortField: 'updatedAt' }), [0, 2, 1])
  assert.deepEqual(await list({ sortField: 'createdAt', sortDirection: 'asc' }), [0, 1, 2])
  assert.deepEqual(await list({ afterDate: made[1].createdAt }), [2, 1])
  assert.deepEqual(await list({ beforeDate: made[1].createdAt }), [1, 0])
  assert.deepEqual(await list({ rangeField: 'updatedAt', afterDate: touched.updatedAt }), [0])
  await refusedRaw('InvalidQuery', 'GET', '/v1/chat/users?sortField=name', { botId: bot.id })
})

once('a message-less, user-less scan by the list helper is complete', async (w) => {
  const { client } = await w.asBot()
  const made = new Set()
  for (let n = 0; n < 41; n++) made.add((await client.createUser({ tags: { n: `${n}` } })).user.id)
  const all = (await client.list.users({}).collect()).map((u) => u.id)
  assert.equal(all.length, new Set(all).size)
  for (const id of made) assert.ok(all.includes(id))
})
