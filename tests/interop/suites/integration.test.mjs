// An integration of the official SDK, served by its own server: bridge-protocol.md §§ 4, 6.

import { createRequire } from 'node:module'
import { freePort } from '../lib/cli.mjs'
import { assert, eventually, once, server, unique } from '../lib/harness.mjs'

const require = createRequire(import.meta.url)

const schema = (...names) => ({
  type: 'object',
  properties: Object.fromEntries(names.map((name) => [name, { type: 'string' }])),
  required: names,
})

const definition = {
  configuration: { schema: schema('greeting') },
  channels: {
    dm: {
      messages: { text: { schema: schema('text') } },
      conversation: { tags: { room: {} }, creation: { enabled: true, requiredTags: ['room'] } },
      message: { tags: { sent: {} } },
    },
  },
  user: { tags: { name: {} }, creation: { enabled: true, requiredTags: ['name'] } },
  actions: { greet: { input: { schema: schema('name') }, output: { schema: schema('text') } } },
}

once('an integration of the SDK works in both directions', async (w) => {
  process.env.BP_API_URL = server.url
  process.env.BP_TOKEN = server.token
  const { Integration, RuntimeError } = require('@botpress/sdk')
  const happened = []
  const integration = new Integration({
    register: async ({ ctx, webhookUrl }) => {
      if (ctx.configuration.greeting === 'none') throw new RuntimeError('a greeting is needed')
      happened.push(['register', webhookUrl])
    },
    unregister: async () => {
      happened.push(['unregister'])
    },
    actions: {
      greet: async ({ input, ctx }) => {
        if (input.name === 'nobody') throw new RuntimeError('nobody is here')
        return { text: `${ctx.configuration.greeting}, ${input.name}` }
      },
    },
    channels: {
      dm: {
        messages: {
          text: async ({ payload, conversation, user, ack }) => {
            happened.push(['said', payload.text, conversation.tags, user.id])
            await ack({ tags: { sent: 'yes' } })
          },
        },
      },
    },
    createUser: async ({ client, tags }) => {
      const { user } = await client.getOrCreateUser({ tags: { name: tags.name } })
      return { body: JSON.stringify({ user: { id: user.id } }), headers: {}, statusCode: 200 }
    },
    createConversation: async ({ client, channel, tags }) => {
      const { conversation } = await client.getOrCreateConversation({ channel, tags: { room: tags.room } })
      return { body: JSON.stringify({ conversation: { id: conversation.id } }), headers: {}, statusCode: 200 }
    },
    handler: async ({ req, client }) => {
      const { name, room, text } = JSON.parse(req.body)
      const { user } = await client.getOrCreateUser({ tags: { name } })
      const { conversation } = await client.getOrCreateConversation({ channel: 'dm', tags: { room } })
      const { message } = await client.createMessage({
        type: 'text', payload: { text }, userId: user.id, conversationId: conversation.id, tags: {},
      })
      return { status: 201, headers: { 'x-path': req.path }, body: JSON.stringify({ message: message.id }) }
    },
  })
  const port = await freePort()
  const listening = await integration.start(port)
  try {
    const bot = await w.newBot()
    const made = await w.newIntegration({ ...definition, url: `http://127.0.0.1:${port}` })
    const alias = unique('sdk')
    const failed = await w.install(bot, made, alias, { configuration: { greeting: 'none' } })
    assert.deepEqual([failed.status, failed.statusReason], ['registration_failed', 'a greeting is needed'])
    const installed = await w.install(bot, made, alias, { configuration: { greeting: 'Hello' } })
    assert.equal(installed.status, 'registered')
    assert.deepEqual(happened.pop(), ['register', installed.webhookUrl])

    const { client } = await w.asBot(bot)
    const { output } = await client.callAction({ type: `${alias}:greet`, input: { name: 'Ada' } })
    assert.deepEqual(output, { text: 'Hello, Ada' })
    await w.refused('Runtime', client.callAction({ type: `${alias}:greet`, input: { name: 'nobody' } }), /nobody is here/)

    const { pathname } = new URL(installed.webhookUrl)
    const answer = await fetch(`${server.url}${pathname}/in/side`, {
      method: 'POST', body: JSON.stringify({ name: 'Ada', room: '7', text: 'Hi' }),
    })
    assert.deepEqual([answer.status, answer.headers.get('x-path')], [201, '/in/side'])
    const { message } = await client.getMessage({ id: (await answer.json()).message })
    assert.deepEqual([message.direction, message.payload], ['incoming', { text: 'Hi' }])
    const { conversation } = await client.getConversation({ id: message.conversationId })
    assert.deepEqual([conversation.integration, conversation.channel, conversation.tags], [alias, 'dm', { [`${alias}:room`]: '7' }])

    const { message: reply } = await client.createMessage({
      conversationId: conversation.id, userId: bot.id, type: 'text', payload: { text: 'Welcome' }, tags: {},
    })
    await eventually(() => happened.length > 0, { what: 'the message' })
    assert.deepEqual(happened.pop(), ['said', 'Welcome', { room: '7' }, bot.id])
    await eventually(async () => (await client.getMessage({ id: reply.id })).message.tags[`${alias}:sent`] === 'yes')

    const { user } = await client.createUser({ integrationName: alias, tags: { name: 'Grace', vip: '1' } })
    assert.deepEqual(user.tags, { [`${alias}:name`]: 'Grace', vip: '1' })
    const made8 = await client.createConversation({ integrationName: alias, channel: 'dm', tags: { [`${alias}:room`]: '8' } })
    assert.deepEqual([made8.conversation.integration, made8.conversation.tags], [alias, { [`${alias}:room`]: '8' }])
    await w.asAdmin().updateBot({ id: bot.id, integrations: { [alias]: null } })
    assert.deepEqual(happened.pop(), ['unregister'])
  } finally {
    listening?.close?.()
    listening?.closeAllConnections?.()
  }
})
