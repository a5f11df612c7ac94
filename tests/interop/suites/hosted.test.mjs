// Code that the official CLI uploads and the server runs: bridge-protocol.md § 7.

import { freePort, withCli } from '../lib/cli.mjs'
import { apiUrl, assert, eventually, ok, server, unique } from '../lib/harness.mjs'
import { noted, updateBot } from '../lib/sdk.mjs'

const BOT = `
import * as bp from '@botpress/sdk'

const bot = new bp.Bot({ integrations: {}, configuration: { schema: bp.z.object({}) } })

bot.message(async ({ message, client, ctx }) => {
  if (message.payload.text === 'throw') throw new Error('thrown on purpose')
  console.info('answering ' + message.payload.text)
  await client.createMessage({
    conversationId: message.conversationId,
    userId: ctx.botId,
    tags: {},
    type: 'text',
    payload: { text: 'You said: ' + message.payload.text },
  })
})

export default bot
`

const LISTENER = `
import * as bp from '@botpress/sdk'

const { z } = bp

const bot = new bp.Bot({
  integrations: {},
  configuration: { schema: z.object({}) },
  states: { short: { type: 'conversation', schema: z.object({ n: z.number() }), expiry: 500 } },
  events: { placed: { schema: z.object({ order: z.number() }) } },
})

const note = ({ client, ctx }: any, what: string, got: object) =>
  client.setState({ type: 'bot', id: ctx.botId, name: 'note ' + Math.random(), payload: { what, at: Date.now(), ...got } })

bot.message(async (props) => { await note(props, 'message', { type: props.message.type, payload: props.message.payload }) })
bot.event(async (props) => { await note(props, 'event', { type: props.event.type, payload: props.event.payload }) })
bot.stateExpired(async (props) => { await note(props, 'expired', { state: props.state }) })

export default bot
`

const DEFINITION = (name) => `
import { IntegrationDefinition, z } from '@botpress/sdk'

export default new IntegrationDefinition({
  name: '${name}',
  version: '1.0.0',
  title: 'Greeter',
  description: 'Made by a test',
  readme: 'hub.md',
  icon: 'icon.svg',
  configuration: { schema: z.object({}) },
  channels: {},
  actions: { greet: { input: { schema: z.object({ name: z.string() }) }, output: { schema: z.object({ text: z.string() }) } } },
  events: {},
  states: {},
  user: { tags: {} },
})
`

const INTEGRATION = `
import * as bp from '.botpress'

export default new bp.Integration({
  register: async ({ logger }) => { logger.forBot().info('at your service') },
  unregister: async () => {},
  actions: { greet: async ({ input }) => ({ text: 'Hello ' + input.name }) },
  channels: {},
  handler: async ({ req }) => ({ status: 202, headers: { 'x-seen': req.path + '?' + req.query }, body: 'got ' + req.body }),
})
`

for (const version of ['0.8.40', '0.8.59']) {
  withCli(version, 'a deployed bot answers, and what it writes is its log', async (cli, w) => {
    const folder = await cli.project('bot', unique('bot'), { 'src/index.ts': BOT })
    const { id } = await cli.json('bots create', '--name', unique('hosted'))
    await cli.ok('deploy', '--botId', id, { cwd: folder })

    const bot = { id }
    const integration = await w.newIntegration()
    await w.install(bot, integration)
    const people = w.asIntegration(bot, integration, integration.name)
    const { conversation } = await people.createConversation({ channel: 'channel', tags: {} })
    const { user } = await people.createUser({ tags: {} })
    const say = (text) =>
      people.createMessage({ conversationId: conversation.id, userId: user.id, type: 'text', payload: { text }, tags: {} })
    const texts = async () =>
      (await people.listMessages({ conversationId: conversation.id })).messages.map((message) => message.payload.text)
    const log = async () => {
      const path = `/v1/admin/bots/${id}/logs?timeStart=${new Date(Date.now() - 600_000).toISOString()}`
      return (await ok('GET', path, { headers: { 'x-workspace-id': server.workspaceId } })).logs
    }

    const logged = (text, level) => async () =>
      (await log()).find((line) => line.message.includes(text) && line.level === level)
    // The first call starts the process.
    const heard = (text) => eventually(async () => (await texts())[0] === text, { limit: 60_000, what: text })

    await say('hello')
    await heard('You said: hello')
    await eventually(logged('answering hello', 'info'))
    // What a handler throws is tried again and then given up; it isn't the end of its process.
    await say('throw')
    await say('again')
    await heard('You said: again')
    await eventually(logged('was given up: thrown on purpose', 'error'))
  })

  withCli(version, 'a bot hears of messages, events and states that expire, deployed and served', async (cli, w) => {
    const folder = await cli.project('bot', unique('bot'), { 'src/index.ts': LISTENER })
    const { id } = await cli.json('bots create', '--name', unique('listener'))
    await cli.ok('deploy', '--botId', id, { cwd: folder })
    const { bot, client } = await w.asBot({ id })
    const integration = await w.newIntegration({ events: { rung: { schema: {} } } })
    await w.install(bot, integration, 'desk')
    const people = w.asIntegration(bot, integration, 'desk')

    const hears = async (round) => {
      const { conversation } = await people.createConversation({ channel: 'channel', tags: {} })
      const { user } = await people.createUser({ tags: {} })
      const as = { conversationId: conversation.id, userId: user.id, tags: {} }
      await people.createMessage({ ...as, type: 'text', payload: { text: `hello ${round}` } })
      await people.createMessage({ ...as, type: 'image', payload: { imageUrl: `https://example.com/${round}.png` } })
      await people.createEvent({ type: 'rung', payload: { round } })
      await client.createEvent({ type: 'placed', payload: { order: round }, schedule: { delay: 300 } })
      await client.setState({ type: 'conversation', id: conversation.id, name: 'short', payload: { n: round } })
      const expired = await noted(bot, 'expired', (found) => found.length === round, 60_000)
      assert.deepEqual([expired.at(-1).state.payload, expired.at(-1).state.conversationId], [{ n: round }, conversation.id])
      const messages = await noted(bot, 'message', (found) => found.length === 2 * round)
      assert.deepEqual(messages.slice(-2).map((note) => note.type), ['text', 'image'])
      assert.deepEqual(messages.at(-2).payload, { text: `hello ${round}` })
      const events = await noted(bot, 'event', (found) => ['desk:rung', 'placed'].every((type) => found.filter((note) => note.type === type).length === round))
      assert.deepEqual(events.findLast((note) => note.type === 'desk:rung').payload, { round })
      assert.deepEqual(events.findLast((note) => note.type === 'placed').payload, { order: round })
    }

    await hears(1)
    const port = await freePort()
    const env = { BP_API_URL: apiUrl(), BP_TOKEN: server.token }
    const serving = await cli.start(/Listening|listening/, 'serve', '--port', `${port}`, { cwd: folder, env })
    await updateBot(bot, { url: `http://127.0.0.1:${port}` })
    await hears(2)
    await serving.stop()
  })

  withCli(version, 'a deployed integration registers, acts and answers webhooks', async (cli, w) => {
    const name = unique('greeter')
    const files = { 'integration.definition.ts': DEFINITION(name), 'src/index.ts': INTEGRATION }
    const folder = await cli.project('integration', name, files)
    await cli.ok('deploy', { cwd: folder })
    const headers = { 'x-workspace-id': server.workspaceId, 'x-multiple-integrations': 'true' }
    const { integration } = await ok('GET', `/v1/admin/integrations/${name}/latest`, { headers })
    const { bot, client } = await w.asBot()
    const installed = await w.install(bot, integration, 'greeter', { configuration: {} })
    assert.equal(installed.status, 'registered', installed.statusReason)
    const { output } = await client.callAction({ type: 'greeter:greet', input: { name: 'Ann' } })
    assert.deepEqual(output, { text: 'Hello Ann' })
    const answer = await fetch(`${installed.webhookUrl}/deeper?a=b`, { method: 'POST', body: 'something' })
    assert.deepEqual([answer.status, answer.headers.get('x-seen')], [202, '/deeper?a=b'])
    assert.equal(await answer.text(), 'got something')
    const log = async () => {
      const path = `/v1/admin/bots/${bot.id}/logs?timeStart=${new Date(Date.now() - 600_000).toISOString()}`
      return (await ok('GET', path, { headers })).logs
    }
    await eventually(async () => (await log()).some((line) => line.message.includes('at your service')))
  })
}
