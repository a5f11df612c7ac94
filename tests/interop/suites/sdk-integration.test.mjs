// Every operation of an integration of the official SDK 5.4, hosted and remote:
// bridge-protocol.md §§ 4 and 6.

import { assert, eventually, ok, server } from '../lib/harness.mjs'
import { eachWay, notesOf, updateBot } from '../lib/sdk.mjs'

const schema = (...names) => ({
  type: 'object',
  properties: Object.fromEntries(names.map((name) => [name, { type: 'string' }])),
  required: names,
})

const DEFINITION = {
  configuration: { schema: schema('greeting') },
  channels: {
    dm: {
      messages: { text: { schema: schema('text') } },
      conversation: { tags: { room: {} }, creation: { enabled: true, requiredTags: ['room'] } },
      message: { tags: { id: {} } },
    },
  },
  user: { tags: { name: {} }, creation: { enabled: true, requiredTags: ['name'] } },
  actions: { greet: { input: { schema: schema('name') }, output: { schema: schema('text') } } },
}

eachWay('an integration is asked for everything it can do', async (w, way) => {
  const { bot, client } = await w.asBot()
  const integration = await w.newIntegration({ ...DEFINITION, ...(await way('desk')) })
  const noted = (what) =>
    eventually(async () => {
      const found = await notesOf(bot, integration, 'desk', what)
      return found.length > 0 && found
    }, { what: `notes of ${what}` })

  // register
  const refused = await w.install(bot, integration, 'desk', { configuration: { greeting: 'none' } })
  assert.deepEqual([refused.status, refused.statusReason], ['registration_failed', 'a greeting is needed'])
  const installed = await w.install(bot, integration, 'desk', { configuration: { greeting: 'Hello' } })
  assert.deepEqual([installed.status, installed.identifier], ['registered', new URL(installed.webhookUrl).pathname.slice(1)])
  const registered = await noted('register')
  assert.deepEqual(registered.map(({ webhookUrl, greeting }) => [webhookUrl, greeting]), [[installed.webhookUrl, 'Hello']])

  // webhook_received
  const hook = server.url + new URL(installed.webhookUrl).pathname
  const sent = { method: 'PATCH', headers: { 'x-custom': 'A', 'content-type': 'text/csv' }, body: 'ä;"b"\n' }
  const answer = await fetch(`${hook}/a%20b/c?x=%C3%A9&y`, sent)
  assert.deepEqual([answer.status, answer.headers.get('x-path'), answer.headers.get('content-type')], [418, '/a%20b/c', 'text/plain'])
  assert.equal(await answer.text(), 'PATCH x=%C3%A9&y: ä;"b"\n')
  const [{ req }] = await noted('webhook')
  assert.deepEqual([req.method, req.path, req.query, req.body], ['PATCH', '/a%20b/c', 'x=%C3%A9&y', sent.body])
  assert.deepEqual([req.headers['x-custom'], req.headers['content-type']], ['A', 'text/csv'])
  const bare = await fetch(hook, { method: 'OPTIONS' })
  assert.deepEqual([bare.status, bare.headers.get('x-path'), await bare.text()], [418, '/', 'OPTIONS : '])
  const nothing = await fetch(`${hook}/nothing`)
  assert.equal(nothing.status, 200)
  const thrown = await fetch(`${hook}/throw`, { method: 'POST' })
  assert.deepEqual([thrown.status, (await thrown.json()).message], [400, 'not this one'])

  // a message in, by the webhook, and one out, to its channel
  const said = await fetch(`${hook}/say`, { method: 'POST', body: JSON.stringify({ name: 'Ada', room: '7', text: 'Hi' }) })
  assert.deepEqual([said.status, said.headers.get('x-message')], [201, await said.text()])
  const { message } = await client.getMessage({ id: said.headers.get('x-message') })
  assert.deepEqual([message.direction, message.payload, message.tags], ['incoming', { text: 'Hi' }, { 'desk:id': 'm1' }])
  const { conversation } = await client.getConversation({ id: message.conversationId })
  assert.deepEqual([conversation.channel, conversation.integration, conversation.tags], ['dm', 'desk', { 'desk:room': '7' }])
  const reply = async (text) =>
    (await client.createMessage({ conversationId: conversation.id, userId: bot.id, type: 'text', payload: { text }, tags: {} })).message
  const welcome = await reply('Welcome')
  const [out] = await noted('said')
  assert.deepEqual([out.type, out.payload, out.tags], ['text', { text: 'Welcome' }, { room: '7' }])
  assert.deepEqual([out.channel, out.user], ['dm', bot.id])
  const acknowledged = async () => (await client.getMessage({ id: welcome.id })).message.tags['desk:id']
  assert.equal(await eventually(acknowledged), `sent ${welcome.id}`)
  await reply('refuse')
  const log = async () => {
    const path = `/v1/admin/bots/${bot.id}/logs?timeStart=${new Date(Date.now() - 600_000).toISOString()}`
    return (await ok('GET', path, { headers: { 'x-workspace-id': server.workspaceId } })).logs
  }
  await eventually(async () => (await log()).some((line) => line.message.includes('too rude')), { what: 'the line in the log' })

  // action_triggered
  const greet = (input) => client.callAction({ type: 'desk:greet', input })
  assert.deepEqual((await greet({ name: 'Ann' })).output, { text: 'Hello, Ann' })
  await w.refused('Runtime', greet({ name: 'nobody' }), /nobody is here/)
  await w.refused('InvalidDataFormat', greet({ name: 7 }))

  // create_user, create_conversation
  const { user } = await client.createUser({ integrationName: 'desk', tags: { 'desk:name': 'Grace', vip: '1' } })
  assert.deepEqual(user.tags, { 'desk:name': 'Grace', vip: '1' })
  assert.deepEqual((await noted('create user'))[0].tags, { name: 'Grace' })
  const room = await client.createConversation({ integrationName: 'desk', channel: 'dm', tags: { 'desk:room': '8' } })
  assert.deepEqual([room.conversation.integration, room.conversation.tags], ['desk', { 'desk:room': '8' }])
  assert.deepEqual((await noted('create conversation')).map(({ channel, tags }) => [channel, tags]), [['dm', { room: '8' }]])
  await w.refused('InvalidPayload', client.createUser({ integrationName: 'desk', tags: {} }))
  await w.refused('InvalidPayload', client.createConversation({ integrationName: 'desk', channel: 'dm', tags: {} }))

  // unregister, which is said before what changes
  await w.install(bot, integration, 'desk', { configuration: { greeting: 'Bye' } })
  assert.deepEqual((await noted('unregister')).map((note) => note.webhookUrl), [installed.webhookUrl])
  assert.deepEqual((await notesOf(bot, integration, 'desk', 'register')).map((note) => note.greeting), ['Hello', 'Bye'])
  assert.deepEqual((await greet({ name: 'Ann' })).output, { text: 'Bye, Ann' })
  const after = await updateBot(bot, { integrations: { desk: { integrationId: integration.id, enabled: false } } })
  assert.equal(after.integrations.desk.status, 'unregistered')
  await w.refused('Runtime', greet({ name: 'Ann' }))
  assert.equal((await fetch(hook)).status, 404)
})
