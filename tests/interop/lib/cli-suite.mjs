// What the official CLI does with a server: cli-protocol.md §§ 2–8. A suite file for each version, so
// that they run side by side.

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { withCli, freePort } from './cli.mjs'
import { apiUrl, assert, eventually, ok, raw, server, unique } from './harness.mjs'

const workspace = { headers: { 'x-workspace-id': server.workspaceId } }
const admin = (method, path, options) => ok(method, `/v1/admin/${path}`, { ...workspace, ...options })
const bot = async (id) => (await admin('GET', `bots/${id}`)).bot
const integrationNamed = async (name, version = 'latest') =>
  (await admin('GET', `integrations/${name}/${encodeURIComponent(version)}`)).integration

/** `eventually`, while a command goes on; a failure tells what it has said. */
const meanwhile = (command, attempt, options) =>
  eventually(() => {
    assert.ok(!command.ended(), 'it ended')
    return attempt()
  }, options).catch((error) => {
    error.message += `\n${command.text()}`
    throw error
  })

/** All tests, with this version. */
export function suite(version) {
  const everyCli = (title, body) => withCli(version, title, body)

  everyCli('login, and the commands about bots', async (cli) => {
    await cli.fails(/Could not login|unauthorized|token/i, 'login', '--apiUrl', apiUrl(), '--token', 'wrong', '--workspaceId', server.workspaceId)
    await cli.ok('login', '--apiUrl', apiUrl(), '--token', server.token, '--workspaceId', server.workspaceId)
    const name = unique('cli')
    const made = await cli.json('bots create', '--name', name)
    assert.equal(made.name, name)
    assert.deepEqual([made.integrations, made.states, made.secrets, made.dev], [{}, {}, [], false])
    assert.ok((await cli.json('bots list')).some((one) => one.id === made.id))
    assert.equal((await cli.json('bots get', made.id)).name, name)
    await cli.ok('bots delete', made.id)
    assert.ok(!(await cli.json('bots list')).some((one) => one.id === made.id))
    await cli.fails(/No bot found/, 'bots get', made.id)
  })

  const BOT = (added, { nulls = false } = {}) => `
  import { z } from '@botpress/sdk'
  ${added ? "import * as bp from '.botpress'" : "import * as bp from '@botpress/sdk'"}

  const bot = new bp.Bot({
    integrations: { ${added ? `'${added.name}': new bp.${added.class_}({ enabled: true, config: { endpoint: 'https://crm.example.org' } }),` : ''} },
    configuration: { schema: z.object({ greeting: z.string().optional() }) },
    user: { tags: { vip: { title: 'VIP', description: 'Somebody important' } } },
    conversation: { tags: { topic: {} } },
    message: { tags: {} },
    states: {
      memory: { type: 'conversation', schema: z.object({ count: z.number() }) },
      ${nulls ? '' : "gone: { type: 'user', schema: z.object({ x: z.string() }) },"}
    },
    events: { ${nulls ? '' : 'tick: { schema: z.object({ n: z.number() }) },'} },
    recurringEvents: { ${nulls ? '' : "daily: { type: 'tick', payload: { n: 1 }, schedule: { cron: '0 7 * * *' } },"} },
  })

  bot.message(async ({ message, client, ctx }) => {
    await client.createMessage({
      conversationId: message.conversationId,
      userId: ctx.botId,
      tags: {},
      type: 'text',
      payload: { text: \`You said: \${message.payload.text}\` },
    })
  })

  export default bot
  `

  everyCli('a bot is deployed, and deployed again with less', async (cli) => {
    const folder = await cli.project('bot', unique('bot'), { 'src/index.ts': BOT() })
    const { id } = await cli.json('bots create', '--name', unique('cli'))
    await cli.ok('deploy', '--botId', id, { cwd: folder })
    const first = await bot(id)
    assert.ok(first.deployedAt)
    assert.deepEqual(Object.keys(first.states), ['gone', 'memory'])
    assert.equal(first.states.memory.type, 'conversation')
    const sent = first.configuration.schema
    assert.equal(sent.$schema, 'http://json-schema.org/draft-07/schema#')
    assert.deepEqual(Object.keys(sent), ['type', 'properties', 'additionalProperties', 'x-zui', '$schema'], 'verbatim')
    assert.deepEqual(first.recurringEvents.daily.schedule, { cron: '0 7 * * *' })
    assert.equal(first.user.tags.vip.title, 'VIP')
    writeFileSync(join(folder, 'src/index.ts'), BOT(undefined, { nulls: true }))
    await cli.ok('deploy', '--botId', id, { cwd: folder })
    const second = await bot(id)
    assert.deepEqual([Object.keys(second.states), second.events, second.recurringEvents], [['memory'], {}, {}])
    assert.ok(second.deployedAt > first.deployedAt)
    const before = await cli.json('bots list')
    await cli.ok('deploy', '--createNewBot', { cwd: folder })
    const after = await cli.json('bots list')
    const known = before.map((one) => one.id)
    const fresh = after.filter((one) => !known.includes(one.id) && one.deployedAt)
    assert.ok(fresh.length > 0 && fresh.every((one) => one.name), 'a new bot with a name that the server invented')
  })

  const INTEGRATION = (name, version, { actions = true } = {}) => `
  import { IntegrationDefinition, z } from '@botpress/sdk'

  export default new IntegrationDefinition({
    name: '${name}',
    version: '${version}',
    title: 'A CRM',
    description: 'Made by a test',
    readme: 'hub.md',
    icon: 'icon.svg',
    configuration: { schema: z.object({ endpoint: z.string() }) },
    channels: {
      chat: {
        messages: { text: { schema: z.object({ text: z.string() }) } },
        message: { tags: { id: {} } },
        conversation: { tags: { id: {} } },
      },
    },
    actions: {
      ${actions ? "findContact: { input: { schema: z.object({ email: z.string() }) }, output: { schema: z.object({ name: z.string() }) } }," : ''}
      ping: { input: { schema: z.object({}) }, output: { schema: z.object({ pong: z.literal('yes') }) } },
    },
    events: { contactAdded: { schema: z.object({ kind: z.enum(['person', 'company']) }) } },
    states: { token: { type: 'integration', schema: z.object({ value: z.string() }) } },
    user: { tags: { id: {} } },
    secrets: { CLIENT_SECRET: { description: 'Of the app', optional: false } },
  })
  `
  const IMPLEMENTATION = (actions = true) => `
  import * as bp from '.botpress'
  export default new bp.Integration({
    register: async () => {},
    unregister: async () => {},
    actions: { ${actions ? "findContact: async () => ({ name: 'Ann' })," : ''} ping: async () => ({ pong: 'yes' as const }) },
    channels: { chat: { messages: { text: async () => {} } } },
    handler: async () => {},
  })
  `

  async function integrationProject(cli, name) {
    return cli.project('integration', name, {
      'integration.definition.ts': INTEGRATION(name, '1.0.0'),
      'src/index.ts': IMPLEMENTATION(),
    })
  }

  everyCli('an integration is deployed, changed and released again; its secrets are kept and hidden', async (cli) => {
    const name = unique('crm')
    const folder = await integrationProject(cli, name)
    await cli.ok('deploy', '--secrets', 'CLIENT_SECRET=hush-hush', { cwd: folder })
    const first = await integrationNamed(name)
    assert.deepEqual([first.version, first.public, first.secrets], ['1.0.0', false, ['CLIENT_SECRET']])
    assert.deepEqual(first.channels.chat.conversation, { tags: { id: {} }, creation: { enabled: false, requiredTags: [] } }, 'complete')
    assert.deepEqual(Object.keys(first.actions), ['findContact', 'ping'])
    assert.equal(first.actions.ping.output.schema.properties.pong.const, 'yes')
    assert.equal((await raw('GET', new URL(first.iconUrl).pathname)).status, 200)
    assert.ok((await raw('GET', new URL(first.readmeUrl).pathname)).text.length > 0)

    writeFileSync(join(folder, 'integration.definition.ts'), INTEGRATION(name, '1.0.0', { actions: false }))
    writeFileSync(join(folder, 'src/index.ts'), IMPLEMENTATION(false))
    await cli.ok('deploy', { cwd: folder })
    const changed = await integrationNamed(name)
    assert.deepEqual([changed.id, Object.keys(changed.actions), changed.secrets], [first.id, ['ping'], ['CLIENT_SECRET']])

    writeFileSync(join(folder, 'integration.definition.ts'), INTEGRATION(name, '1.1.0', { actions: false }))
    await cli.ok('deploy', '--public', { cwd: folder })
    const released = await integrationNamed(name)
    assert.deepEqual([released.version, released.public, released.secrets], ['1.1.0', true, ['CLIENT_SECRET']], 'inherited')
    assert.equal((await integrationNamed(name, '<1.1.0')).id, first.id)

    const listed = await cli.json('integrations list')
    assert.ok(listed.some((one) => one.id === released.id) && listed.some((one) => one.id === first.id))
    const got = await cli.json('integrations get', `${name}@1.0.0`)
    assert.equal(got.id, first.id)
    assert.ok(!JSON.stringify([first, changed, released, listed, got]).includes('hush-hush'))
    await cli.ok('integrations delete', first.id)
    await cli.fails(/.+/, 'integrations get', first.id)
  })

  everyCli('an integration is added to a bot: its types compile, and the bot is deployed with it', async (cli) => {
    const name = unique('crm')
    const source = await integrationProject(cli, name)
    await cli.ok('deploy', '--secrets', 'CLIENT_SECRET=hush', { cwd: source })
    const folder = await cli.project('bot', unique('bot'), { 'src/index.ts': BOT() })
    await cli.ok('add', name, { cwd: folder })
    const module_ = join(folder, '.botpress/installations', name, 'index.ts')
    assert.ok(existsSync(module_), module_)
    const class_ = /export class (\w+)/.exec(readFileSync(module_, 'utf8'))[1]
    const namespace = class_[0].toLowerCase() + class_.slice(1)
    writeFileSync(join(folder, 'src/index.ts'), BOT({ name, class_: `${namespace}.${class_}` }))
    await cli.ok('generate', { cwd: folder })
    await cli.typeCheck(folder)
    const { id } = await cli.json('bots create', '--name', unique('cli'))
    const { text } = await cli.ok('deploy', '--botId', id, { cwd: folder })
    const integration = await integrationNamed(name)
    const { integrations } = await bot(id)
    assert.deepEqual(Object.keys(integrations), [integration.id], 'keyed by version id for CLIs of 0.8')
    const instance = integrations[integration.id]
    assert.deepEqual([instance.enabled, instance.name, instance.configuration], [true, name, { endpoint: 'https://crm.example.org' }])
    assert.ok(text.includes(instance.webhookUrl), `the webhook URL is printed:\n${text}`)
    await cli.fails(/installed/, 'integrations delete', integration.id)
    writeFileSync(join(folder, 'src/index.ts'), BOT())
    await cli.ok('deploy', '--botId', id, { cwd: folder })
    assert.deepEqual((await bot(id)).integrations, {}, 'removed again')
  })

  everyCli('an interface is deployed, found and deleted', async (cli) => {
    const name = unique('listable')
    const declaration = (more = '') => `
      import { InterfaceDeclaration, z } from '@botpress/sdk'
      export default new InterfaceDeclaration({
        name: '${name}', version: '1.0.0',
        entities: { thing: { schema: z.object({ id: z.string() }) } },
        events: { ${more} },
        actions: { list: { input: { schema: () => z.object({}) }, output: { schema: (e: any) => z.object({ things: z.array(e.thing) }) } } },
        channels: {},
      })`
    const folder = cli.bareProject(name, {
      'package.json': JSON.stringify({ name: 'listable', private: true, dependencies: { '@botpress/sdk': '*' } }),
      'interface.definition.ts': declaration(),
    })
    await cli.ok('deploy', { cwd: folder })
    const { interface: first } = await admin('GET', `interfaces/${name}/latest`)
    assert.match(first.id, /^[0-9a-f-]{36}$/)
    assert.equal(first.actions.list.output.schema.properties.things.items.$ref, 'thing', 'verbatim')
    writeFileSync(join(folder, 'interface.definition.ts'), declaration('added: { schema: (e: any) => z.object({ thing: e.thing }) }'))
    await cli.ok('deploy', { cwd: folder })
    assert.ok((await admin('GET', `interfaces/${name}/1.0.0`)).interface.events.added)
    assert.ok((await cli.json('interfaces list')).some((one) => one.id === first.id))
    assert.equal((await cli.json('interfaces get', first.id)).name, name)
    await cli.ok('interfaces delete', name)
    assert.ok(!(await cli.json('interfaces list')).some((one) => one.id === first.id))
  })

  everyCli('bp dev: the server reaches the code on this machine through a tunnel', async (cli) => {
    const folder = await cli.project('bot', unique('bot'), { 'src/index.ts': BOT() })
    const port = await freePort()
    const dev = await cli.start(/Listening|listening/, 'dev', '--port', `${port}`, '--tunnelUrl', server.tunnelUrl, { cwd: folder })
    const [id] = /devbot_[0-9A-Z]{26}/.exec(dev.text()) ?? []
    assert.ok(id, dev.text())
    const made = await bot(id)
    assert.deepEqual([made.dev, Object.keys(made.states)], [true, ['gone', 'memory']])
    assert.ok(made.url.startsWith(`${server.tunnelUrl}/`), made.url)
    const healthy = await eventually(async () => {
      const answer = await fetch(`${made.url}/health`)
      return answer.status === 200 && (await answer.text())
    }, { what: 'the health of the code' })
    assert.equal(healthy, 'ok')

    // A message, as the server delivers it; the code answers over the API.
    const as = { botId: id }
    const { conversation } = await ok('POST', '/v1/chat/conversations', { ...as, body: { channel: 'test', tags: {} } })
    const { user } = await ok('POST', '/v1/chat/users', { ...as, body: { tags: {} } })
    const message = {
      id: 'msg_01HZZZZZZZZZZZZZZZZZZZZZZZ', createdAt: new Date().toISOString(), updatedAt: new Date().toISOString(), direction: 'incoming',
      conversationId: conversation.id, userId: user.id, type: 'text', payload: { text: 'through the tunnel ✓' }, tags: {},
    }
    const event = {
      id: 'evt_01HZZZZZZZZZZZZZZZZZZZZZZZ', type: 'message_created', createdAt: message.createdAt, status: 'pending',
      payload: { message, user, conversation },
    }
    const configuration = Buffer.from(JSON.stringify({ payload: '{}' })).toString('base64')
    const delivered = await fetch(made.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-bot-id': id, 'x-bp-operation': 'event_received', 'x-bp-type': 'message_created', 'x-bp-configuration': configuration },
      body: JSON.stringify({ event }),
    })
    assert.equal(delivered.status, 200, await delivered.text())
    const { messages } = await ok('GET', `/v1/chat/messages?conversationId=${conversation.id}`, as)
    assert.deepEqual(messages.map((one) => one.payload.text), ['You said: through the tunnel ✓'])

    await dev.stop()
    await eventually(async () => (await fetch(`${made.url}/health`)).status === 503, { what: 'the end of the tunnel' })
    await cli.ok('bots delete', id)
  })

  const DEV_DEFINITION = (name, more = '') => `
  import { IntegrationDefinition, z } from '@botpress/sdk'

  export default new IntegrationDefinition({
    name: '${name}',
    version: '1.0.0',
    title: 'Greeter',
    description: 'Made by a test',
    readme: 'hub.md',
    icon: 'icon.svg',
    configuration: { schema: z.object({ greeting: z.string() }) },
    channels: {},
    actions: {
      greet: { input: { schema: z.object({ name: z.string() }) }, output: { schema: z.object({ text: z.string() }) } },
      ${more}
    },
    events: {},
    states: { told: { type: 'integration', schema: z.object({ what: z.array(z.string()) }) } },
    user: { tags: {} },
  })
  `
  const DEV_CODE = (word, more = '') => `
  import * as bp from '.botpress'

  const tell = async (client: bp.Client, id: string, what: string) => {
    const { state } = await client.getOrSetState({ type: 'integration', name: 'told', id, payload: { what: [] } })
    await client.setState({ type: 'integration', name: 'told', id, payload: { what: [...state.payload.what, what] } })
  }

  export default new bp.Integration({
    register: async ({ client, ctx }) => tell(client, ctx.integrationId, 'register ' + ctx.configuration.greeting),
    unregister: async ({ ctx, webhookUrl }) => console.log('goodbye ' + ctx.botId, webhookUrl),
    actions: { greet: async ({ input, ctx }) => ({ text: ctx.configuration.greeting + ' ' + input.name }), ${more} },
    channels: {},
    handler: async ({ req }) => ({ status: 202, headers: { 'x-seen': req.path + '?' + req.query }, body: '${word} ' + req.body }),
  })
  `

  everyCli('bp dev of an integration: through a tunnel, changed, ended, begun again', async (cli, w) => {
    const name = unique('greeter')
    const files = { 'integration.definition.ts': DEV_DEFINITION(name), 'src/index.ts': DEV_CODE('got') }
    const folder = await cli.project('integration', name, files)
    const run = async () => {
      const port = await freePort()
      const dev = await cli.start(/Listening|listening/, 'dev', '--port', `${port}`, '--tunnelUrl', server.tunnelUrl, { cwd: folder })
      const isListening = () => fetch(`http://127.0.0.1:${port}/health`).then((answer) => answer.ok, () => false)
      await eventually(isListening, { what: 'the code on this machine' })
      return { ...dev, isListening, id: /devint_[0-9A-Z]{26}/.exec(dev.text())?.[0] }
    }
    const dev = await run()
    assert.ok(dev.id, dev.text())
    const integration = async () => (await admin('GET', `integrations/${dev.id}`)).integration
    const made = await integration()
    assert.deepEqual([made.name, made.dev, Object.keys(made.actions)], [name, true, ['greet']])
    assert.ok(made.url.startsWith(`${server.tunnelUrl}/`), made.url)

    // In a dev bot, which is the only kind that may have it.
    const owner = await w.newBot({ dev: true })
    const installed = await w.install(owner, made, 'greeter', { configuration: { greeting: 'Hello' } })
    assert.deepEqual([installed.status, installed.version], ['registered', 'dev'], installed.statusReason)
    const { client } = await w.asBot(owner)
    const people = w.asIntegration(owner, made, 'greeter')
    const told = async () => (await people.getState({ type: 'integration', name: 'told', id: made.id })).state.payload.what
    assert.deepEqual(await told(), ['register Hello'])
    const greet = async (name) => (await client.callAction({ type: 'greeter:greet', input: { name } })).output
    assert.deepEqual(await greet('Ann'), { text: 'Hello Ann' })
    const hook = server.url + new URL(installed.webhookUrl).pathname
    const knock = async () => {
      const answer = await fetch(`${hook}/x%20y?z=1`, { method: 'PUT', body: 'ä\n' })
      return [answer.status, answer.headers.get('x-seen'), await answer.text()]
    }
    assert.deepEqual(await knock(), [202, '/x%20y?z=1', 'got ä\n'])

    // A change of the code, then of the definition: the server has it, and tells the code again.
    const answers = async (word) => (await knock())[2] === `${word} ä\n`
    const changed = async (path, text) => {
      const times = (words) => dev.text().split(words).length
      const [changes, starts] = ['Changes detected', 'Listening on port'].map(times)
      // One file at once, whole, while the CLI is at rest: of two changes that it sees apart it makes two builds side
      // by side, which stumble over each other. And what it doesn't see is saved again.
      let saved = 0
      const seen = () => {
        if (times('Changes detected') > changes) return true
        if (Date.now() - saved > 10_000) {
          writeFileSync(join(cli.folder, 'saved'), text)
          renameSync(join(cli.folder, 'saved'), join(folder, path))
          saved = Date.now()
        }
        return false
      }
      await meanwhile(dev, seen, { limit: 35_000, what: `the change of ${path}` })
      await meanwhile(dev, () => times('Listening on port') > starts, { what: `the start after the change of ${path}` })
    }
    await changed('src/index.ts', DEV_CODE('heard', 'wave: async () => ({ times: 2 }),'))
    await meanwhile(dev, () => answers('heard'), { what: 'heard' })
    const more = "wave: { input: { schema: z.object({}) }, output: { schema: z.object({ times: z.number() }) } },"
    await changed('integration.definition.ts', DEV_DEFINITION(name, more))
    await meanwhile(dev, async () => 'wave' in (await integration()).actions, { what: 'the action' })
    const instance = async () => (await bot(owner.id)).integrations[dev.id]
    await eventually(async () => (await instance()).status === 'registered', { what: 'the registration of the change' })
    await eventually(async () => (await told()).length > 1, { what: 'being told again' })
    assert.deepEqual((await client.callAction({ type: 'greeter:wave', input: {} })).output, { times: 2 })

    // Ctrl-C ends the code and the tunnel; what the server knows stays, for the next time.
    await dev.interrupt()
    assert.equal(await dev.isListening(), false)
    await eventually(async () => (await fetch(`${made.url}/health`)).status === 503, { what: 'the end of the tunnel' })
    assert.equal((await knock())[0], 503)
    assert.equal((await integration()).id, dev.id)
    const again = await run()
    assert.equal(again.id, dev.id, again.text())
    await meanwhile(again, () => answers('heard'), { what: 'heard again' })
    await eventually(async () => (await instance()).status === 'registered', { what: 'the registration of the next time' })
    assert.deepEqual(await greet('Bo'), { text: 'Hello Bo' })

    // Deleted, it leaves its bots, and its code hears of it.
    await cli.ok('integrations delete', dev.id)
    assert.deepEqual((await bot(owner.id)).integrations, {})
    await meanwhile(again, () => again.text().includes(`goodbye ${owner.id}`), { what: 'the farewell' })
    assert.equal((await fetch(`${hook}/x`)).status, 404)
    await again.interrupt()
  })

  everyCli('bp serve: the bot runs here, and is called where it says', async (cli) => {
    const folder = await cli.project('bot', unique('bot'), { 'src/index.ts': BOT() })
    await cli.ok('build', { cwd: folder })
    const port = await freePort()
    const env = { BP_API_URL: apiUrl(), BP_TOKEN: server.token }
    const serving = await cli.start(/Listening|listening/, 'serve', '--port', `${port}`, { cwd: folder, env })
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/health`)).text(), 'ok')
    await serving.stop()
  })
}
