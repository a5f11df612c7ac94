// Code that the official CLI uploads and the server runs: bridge-protocol.md § 7.

import { withCli } from '../lib/cli.mjs'
import { assert, eventually, ok, server, unique } from '../lib/harness.mjs'

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
    await eventually(logged('is given up: thrown on purpose', 'error'))
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
