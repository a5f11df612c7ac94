// Every error reaches the caller as the client's own class: errors.md §§ 1–3.

import { assert, every, nobody, once, raw, unique } from '../lib/harness.mjs'

every('errors are rebuilt from their own JSON', 'getConversation', async (w) => {
  const { client } = await w.asBot()
  const error = await w.refused('ResourceNotFound', client.getConversation({ id: nobody('conv') }))
  const again = w.lib.errorFrom(error.toJSON())
  assert.ok(w.lib.isApiError(again))
  assert.ok(again instanceof w.lib.ResourceNotFoundError)
  assert.deepEqual([again.id, again.code, again.type, again.message], [error.id, 404, 'ResourceNotFound', error.message])
})

every('each class is the one its type names', 'createBot', async (w) => {
  const { bot, client, conversation, user } = await w.scene()
  const admin = w.asAdmin()
  await w.refused('Unauthorized', w.client({ token: 'wrong', botId: bot.id }).listUsers({}))
  await w.refused('InvalidPayload', client.createUser({}))
  await w.refused('ResourceNotFound', client.getUser({ id: nobody('user') }))
  await w.refused('ReferenceNotFound', client.addParticipant({ id: conversation.id, userId: nobody('user') }))
  await w.refused('InvalidQuery', client.listConversations({ nextToken: 'garbage' }))
  await w.refused('ReferenceConstraint', client.deleteUser({ id: bot.id }))
  await w.refused('Forbidden', client.configureIntegration({}))
  await w.refused('PayloadTooLarge', client.createMessage({
    conversationId: conversation.id, userId: user.id, type: 'text', payload: { text: 'x'.repeat(131072) }, tags: {},
  }))
  const integration = await w.newIntegration()
  await w.refused('AlreadyExists', admin.createIntegration({ name: integration.name, version: '1.0.0' }))
  const [one, two] = [await w.newIntegration(), await w.newIntegration()]
  await w.install(bot, one)
  await w.install(bot, two)
  const { conversation: theirs } = await w.asIntegration(bot, one).createConversation({ channel: 'channel', tags: {} })
  const { user: stranger } = await w.asIntegration(bot, two).createUser({ tags: {} })
  await w.refused('RelationConflict', client.addParticipant({ id: theirs.id, userId: stranger.id }))
})

every('a runtime call without a bot is invalid, with an unknown one not found', 'listUsers', async (w) => {
  await w.refused('InvalidPayload', w.client().listUsers({}))
  await w.refused('ResourceNotFound', w.client({ botId: nobody('bot') }).listUsers({}))
})

once('every occurrence has an id of its own', async (w) => {
  const { client } = await w.asBot()
  const ids = new Set()
  for (let n = 0; n < 20; n++) {
    const error = await w.refused('ResourceNotFound', client.getUser({ id: nobody('user') }))
    ids.add(error.id)
  }
  assert.equal(ids.size, 20)
})

once('messages say what is wrong', async (w) => {
  const { id: botId } = await w.newBot()
  const said = async (method, target, options) => (await raw(method, target, { botId, ...options })).body.message
  assert.match(await said('POST', '/v1/chat/users', { body: {} }), /tags/)
  assert.match(await said('POST', '/v1/chat/users', { body: { tags: {}, name: 5 } }), /name/)
  assert.match(await said('GET', `/v1/chat/users/${unique('user')}`), /user/i)
  assert.match(await said('GET', '/v1/chat/conversations?sortField=colour'), /sortField|colour/)
  assert.match(await said('GET', '/v1/chat/users', { botId: undefined }), /x-bot-id/)
})
