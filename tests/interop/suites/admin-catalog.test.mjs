// Interfaces and plugins: admin.md §§ 7, 8; cli-protocol.md § 4.

import { assert, every, nobody, ok, once, raw, recent, server, unique } from '../lib/harness.mjs'

const admin = { headers: { 'x-workspace-id': server.workspaceId, 'x-multiple-integrations': 'true' } }
const call = (method, path, body) => ok(method, `/v1/admin/${path}`, { ...admin, ...(body && { body }) })
const name = (text) => encodeURIComponent(text)
const schema = { type: 'object', properties: {} }
const item = (properties) => ({ type: 'object', properties, 'x-zui': {}, $schema: 'http://json-schema.org/draft-07/schema#' })
const reference = (entity) => ({ type: 'object', properties: { item: { $ref: `interface:store/entities/${entity}` } } })

const definition = (fields) => ({
  version: '1.0.0',
  entities: { item: { schema: item({ id: { type: 'string' } }) } },
  events: { created: { schema: { type: 'object', properties: { item: { $ref: 'item' } } } } },
  actions: {},
  channels: { chat: { messages: { text: { schema } } } },
  icon: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>').toString('base64'),
  readme: Buffer.from('# Read me').toString('base64'),
  ...fields,
})

every('an interface is created, read, changed, listed and deleted', 'createInterface', async (w) => {
  const client = w.asAdmin()
  const fields = definition({ name: unique('itf'), public: true })
  const { interface: made } = await client.createInterface(fields)
  assert.match(made.id, /^[0-9a-f]{8}-[0-9a-f]{4}-/)
  // Older clients don't know that interfaces can be public.
  assert.deepEqual([made.name, made.version, made.title, made.public], [fields.name, '1.0.0', fields.name, w.since('1.16')])
  assert.equal(JSON.stringify(made.entities.item.schema), JSON.stringify(fields.entities.item.schema), 'verbatim')
  recent(made.createdAt)
  assert.deepEqual((await client.getInterface({ id: made.id })).interface, made)
  assert.equal((await client.getInterfaceByName({ name: made.name, version: 'latest' })).interface.id, made.id)
  const { interface: changed } = await client.updateInterface({ id: made.id, title: 'Other', entities: { item: null, more: { schema } } })
  assert.deepEqual([changed.title, Object.keys(changed.entities), Object.keys(changed.events)], [w.since('1.16') ? 'Other' : made.name, ['more'], ['created']])
  const { interfaces } = await client.listInterfaces({})
  assert.ok(interfaces.some((one) => one.id === made.id))
  await w.refused('AlreadyExists', client.createInterface(fields))
  assert.deepEqual(await client.deleteInterface({ id: made.id }), {})
  await w.refused('ResourceNotFound', client.getInterface({ id: made.id }))
  await w.refused('ResourceNotFound', client.getInterfaceByName({ name: made.name, version: '1.0.0' }))
})

once('the hub shows public interfaces with their files', async () => {
  const { interface: made } = await call('POST', 'interfaces', definition({ name: unique('itf'), public: true }))
  const { interface: hidden } = await call('POST', 'interfaces', definition({ name: unique('itf') }))
  assert.equal((await call('GET', `hub/interfaces/${made.id}`)).interface.id, made.id)
  assert.equal((await call('GET', `hub/interfaces/${name(made.name)}/${name('>=1.0.0 <2.0.0-0')}`)).interface.id, made.id)
  const { interfaces } = await call('GET', `hub/interfaces?name=${made.name}&version=latest`)
  assert.deepEqual(interfaces.map((one) => one.id), [made.id])
  assert.equal((await raw('GET', `/v1/admin/hub/interfaces/${hidden.id}`, admin)).status, 404)
  const icon = await raw('GET', new URL(made.iconUrl).pathname, { token: null })
  assert.deepEqual([icon.status, icon.headers['content-type']], [200, 'image/svg+xml'])
  assert.equal((await raw('GET', new URL(made.readmeUrl).pathname, { token: null })).text, '# Read me')
})

once('a plugin becomes part of the bots that have it installed', async (w) => {
  const { interface: creatable } = await call('POST', 'interfaces', definition({ name: unique('creatable'), public: true }))
  const color = item({ id: { type: 'string' }, color: { type: 'string' } })
  const integration = await w.newIntegration({
    entities: { thing: { schema: color } },
    interfaces: { 'creatable<thing>': { id: creatable.id, entities: { item: { name: 'thing' } }, actions: {}, events: {}, channels: {} } },
  })
  assert.equal(integration.interfaces['creatable<thing>'].name, creatable.name)
  const { integrations } = await call('GET', `integrations?interfaceId=${creatable.id}`)
  assert.deepEqual(integrations.map((one) => one.id), [integration.id])
  const { plugin } = await call('POST', 'plugins', {
    name: unique('plugin'),
    version: '0.1.0',
    visibility: 'public',
    icon: definition({}).icon,
    readme: definition({}).readme,
    code: { node: 'exports.node = 1', browser: 'exports.browser = 1' },
    dependencies: { interfaces: { store: { name: creatable.name, version: '1.x' } } },
    actions: { doSomething: { input: { schema: reference('item') }, output: { schema } } },
    states: { last: { type: 'bot', schema: reference('item') } },
    message: { tags: { mark: {} } },
  })
  assert.deepEqual(plugin.dependencies.interfaces.store, { id: creatable.id, name: creatable.name, version: '1.0.0' })

  const bot = await w.newBot()
  await w.install(bot, integration, 'backing')
  const body = {
    plugins: {
      'my-plugin': {
        id: plugin.id,
        configuration: {},
        interfaces: { store: { integrationId: integration.id, integrationAlias: 'backing', integrationInterfaceAlias: 'creatable<thing>' } },
        implementation: { type: 'Buffer', data: [1, 2, 3] },
      },
    },
  }
  const { bot: first } = await call('PUT', `bots/${bot.id}`, body)
  assert.deepEqual(first.actions['my-plugin#doSomething'].input.schema.properties.item, color)
  assert.deepEqual([first.plugins['my-plugin'].enabled, first.plugins['my-plugin'].id], [true, plugin.id])
  assert.ok(first.states['my-plugin#last'] && first.message.tags['my-plugin#mark'])
  const again = { ...body, actions: { 'my-plugin#doSomething': null }, states: { 'my-plugin#last': null } }
  const { bot: second } = await call('PUT', `bots/${bot.id}`, again)
  assert.deepEqual(Object.keys(second.actions), ['my-plugin#doSomething'], 'what the server derived is not removed')
  const { bots } = await call('GET', `bots?pluginNames=${plugin.name}`)
  assert.deepEqual(bots.map((one) => one.id), [bot.id])

  assert.equal((await call('GET', `plugins/${plugin.id}`)).plugin.id, plugin.id)
  assert.equal((await call('GET', `plugins/${plugin.name}/latest`)).plugin.id, plugin.id)
  assert.equal((await call('GET', `plugins/${plugin.id}/code/node`)).code, 'exports.node = 1')
  assert.equal((await call('GET', `hub/plugins/${plugin.id}/code/browser`)).code, 'exports.browser = 1')
  assert.equal((await call('GET', `hub/plugins/${plugin.id}`)).plugin.id, plugin.id)
  assert.equal((await call('GET', `hub/plugins/${plugin.name}/0.1.0`)).plugin.id, plugin.id)
  for (const list of ['plugins', 'hub/plugins']) {
    const { plugins } = await call('GET', `${list}?name=${plugin.name}`)
    assert.deepEqual(plugins.map((one) => one.id), [plugin.id])
  }
  for (const [where, id] of [['plugins', integration.id], ['hub/plugins', (await publicCopy(w, integration)).id]]) {
    const { plugin: resolved } = await call('GET', `${where}/${plugin.id}/dereferenced?interfaces.store=${id}`)
    assert.deepEqual(resolved.actions.doSomething.input.schema.properties.item, color)
  }
  assert.equal((await raw('GET', new URL(plugin.iconUrl).pathname, { token: null })).status, 200)
  assert.equal((await raw('GET', new URL(plugin.readmeUrl).pathname, { token: null })).text, '# Read me')

  const { plugin: changed } = await call('PUT', `plugins/${plugin.id}`, { title: 'Changed', states: { last: null }, code: { node: '2' } }).catch(() => ({}))
  assert.equal(changed, undefined, 'a shared plugin loses nothing while it is installed')
  const refused = async (type, method, path, body) => {
    const answer = await raw(method, `/v1/admin/${path}`, { ...admin, ...(body && { body }) })
    assert.equal(answer.body?.type, type, answer.text)
  }
  await refused('ReferenceConstraint', 'DELETE', `plugins/${plugin.id}`)
  await refused('ReferenceConstraint', 'DELETE', `interfaces/${creatable.id}`)
  await refused('ReferenceNotFound', 'PUT', `bots/${bot.id}`, { plugins: { other: { id: nobody('plugver') } } })
  await call('DELETE', `bots/${bot.id}`)
  assert.equal((await call('PUT', `plugins/${plugin.id}`, { title: 'Changed', states: { last: null } })).plugin.title, 'Changed')
  await call('DELETE', `plugins/${plugin.id}`)
  await refused('ResourceNotFound', 'GET', `plugins/${plugin.id}`)
})

/** The hub's plugins are resolved with integrations that everybody may use. */
async function publicCopy(w, integration) {
  const { entities, interfaces } = integration
  const bound = Object.fromEntries(
    Object.entries(interfaces).map(([key, { id, entities }]) => [key, { id, entities, actions: {}, events: {}, channels: {} }]),
  )
  return w.newIntegration({ entities, interfaces: bound, public: true })
}
