// Integrations and their keys: admin.md § 6.

import { assert, every, nobody, once, recent, server, unique } from '../lib/harness.mjs'

const schema = { type: 'object', properties: {} }

every('an integration is created, read by id and by name, changed and deleted', 'createIntegration', async (w) => {
  const client = w.asAdmin()
  const name = unique('int')
  const { integration } = await client.createIntegration({
    name,
    version: '1.2.3',
    title: 'Title',
    description: 'Description',
    configuration: { schema },
    channels: { channel: { messages: { text: { schema } } } },
    actions: { greet: { input: { schema }, output: { schema } } },
    events: { greeted: { schema } },
    states: { memory: { type: 'conversation', schema } },
  })
  assert.match(integration.id, /^intver_[0-9A-HJKMNP-TV-Z]{26}$/)
  assert.deepEqual([integration.name, integration.version, integration.title], [name, '1.2.3', 'Title'])
  assert.deepEqual([integration.public, integration.visibility, integration.dev], [false, 'private', false])
  assert.equal(integration.lifecycleStatus, 'published')
  assert.deepEqual(Object.keys(integration.channels.channel.messages), ['text'])
  assert.deepEqual(integration.actions.greet.input.schema, schema)
  assert.deepEqual(integration.states, { memory: { type: 'conversation', schema } })
  recent(integration.createdAt)
  const { integration: read } = await client.getIntegration({ id: integration.id })
  assert.equal(read.signingSecret ?? '', '', 'the secret is shown once')
  assert.deepEqual({ ...read, signingSecret: '' }, { ...integration, signingSecret: '' })
  assert.equal((await client.getIntegrationByName({ name, version: '1.2.3' })).integration.id, integration.id)
  const { integration: changed } = await client.updateIntegration({
    id: integration.id,
    title: 'New title',
    actions: { greet: null, part: { input: { schema }, output: { schema } } },
  })
  assert.equal(changed.title, 'New title')
  assert.deepEqual(Object.keys(changed.actions), ['part'])
  assert.deepEqual(Object.keys(changed.events), ['greeted'])
  assert.deepEqual(await client.deleteIntegration({ id: integration.id }), {})
  await w.refused('ResourceNotFound', client.getIntegration({ id: integration.id }))
  await w.refused('ResourceNotFound', client.deleteIntegration({ id: integration.id }))
  await w.refused('ResourceNotFound', client.getIntegrationByName({ name, version: '1.2.3' }))
})

every('a name may begin with the workspace’s handle; versions are exact, latest or ranges', 'getIntegrationByName', async (w) => {
  const client = w.asAdmin()
  const { handle } = await client.getWorkspace({ id: server.workspaceId })
  const name = `${handle}/${unique('crm')}`
  const ids = {}
  for (const version of ['1.0.0', '1.10.0', '1.9.0', '2.0.0-beta.1']) {
    ids[version] = (await w.newIntegration({ name, version })).id
  }
  const find = async (version) => (await client.getIntegrationByName({ name, version })).integration.id
  assert.equal(await find('1.0.0'), ids['1.0.0'])
  assert.equal(await find('latest'), ids['1.10.0'], 'the highest that is no prerelease')
  assert.equal(await find('>=1.0.0 <1.10.0'), ids['1.9.0'])
  const { id: neighbour } = await client.createWorkspace({ name: unique('w') })
  const theirs = unique('other')
  await client.updateWorkspace({ id: neighbour, handle: theirs })
  await w.refused('InvalidPayload', client.createIntegration({ name: `${theirs}/crm`, version: '1.0.0' }))
  await client.deleteWorkspace({ id: neighbour })
  await w.refused('ResourceNotFound', client.getIntegrationByName({ name, version: '3.0.0' }))
  await w.refused('ResourceNotFound', client.getIntegrationByName({ name: unique('none'), version: 'latest' }))
})

every('name and version are taken once', 'createIntegration', async (w) => {
  const client = w.asAdmin()
  const integration = { name: unique('int'), version: '1.0.0' }
  assert.equal((await client.createIntegration(integration)).integration.title, integration.name, 'the name is the title')
  await w.refused('AlreadyExists', client.createIntegration(integration))
  await w.refused('InvalidPayload', client.createIntegration({ name: unique('int') }))
  await w.refused('InvalidPayload', client.createIntegration({ version: '1.0.0' }))
  await w.refused('InvalidPayload', client.createIntegration({ name: 'Not A Name!', version: '1.0.0' }))
})

every('unknown ids are not found, whatever they name', 'getIntegration', async (w) => {
  const client = w.asAdmin()
  for (const id of [nobody('intver'), nobody('plugver'), '00000000-0000-4000-8000-000000000000']) {
    await w.refused('ResourceNotFound', client.getIntegration({ id }))
  }
})

every('integrations are listed and filtered', 'listIntegrations', async (w) => {
  const client = w.asAdmin()
  const name = unique('int')
  const one = await w.newIntegration({ name, version: '1.0.0' })
  const two = await w.newIntegration({ name, version: '1.1.0' })
  const list = async (filter) => (await client.listIntegrations(filter)).integrations.map((i) => i.id)
  assert.deepEqual(await list({ name }), [two.id, one.id])
  assert.deepEqual(await list({ name, version: '1.0.0' }), [one.id])
  assert.deepEqual(await list({ name, version: 'latest' }), [two.id])
  assert.deepEqual(await list({ name: unique('none') }), [])
})

every('an installed integration is not deleted', 'deleteIntegration', async (w) => {
  const client = w.asAdmin()
  const [bot, integration] = [await w.newBot(), await w.newIntegration()]
  await w.install(bot, integration)
  await w.refused('ReferenceConstraint', client.deleteIntegration({ id: integration.id }))
  if (w.since('1.16')) {
    const { integrations } = await client.listIntegrations({ installedByBotId: bot.id })
    assert.deepEqual(integrations.map((i) => i.id), [integration.id])
  }
  await client.updateBot({ id: bot.id, integrations: { [integration.name]: null } })
  assert.deepEqual(await client.deleteIntegration({ id: integration.id }), {})
})

every('an integration key is that integration, where it is installed', 'createIntegrationApiKey', async (w) => {
  const admin = w.asAdmin()
  const [bot, other, integration] = [await w.newBot(), await w.newBot(), await w.newIntegration()]
  await w.install(bot, integration)
  const key = await admin.createIntegrationApiKey({ integrationId: integration.id, note: 'n' })
  assert.match(key.value, /^bp_iak_\w{32,}$/)
  const { iaks } = await admin.listIntegrationApiKeys({ integrationId: integration.id })
  assert.deepEqual(iaks.map((one) => [one.id, one.note, 'value' in one]), [[key.id, 'n', false]])
  const client = w.client({ token: key.value, botId: bot.id })
  const { conversation } = await client.createConversation({ channel: 'channel', tags: {} })
  assert.equal(conversation.integration, integration.name)
  await w.refused('Forbidden', w.client({ token: key.value, botId: other.id }).listUsers({}))
  await w.refused('Forbidden', w.asAdmin({ token: key.value }).listIntegrations({}))
  assert.deepEqual(await admin.deleteIntegrationApiKey({ id: key.id }), {})
  await w.refused('Unauthorized', client.listUsers({}))
  await w.refused('ResourceNotFound', admin.listIntegrationApiKeys({ integrationId: nobody('intver') }))
})

once('a missing workspace header falls back to the only workspace or is refused', async (w) => {
  const client = w.client()
  try {
    const { integrations } = await client.listIntegrations({})
    assert.ok(Array.isArray(integrations))
  } catch (error) {
    assert.equal(error.type, 'InvalidPayload')
  }
  assert.ok(server.workspaceId)
})

every('the hub shows public integrations, and only those', 'getPublicIntegration', async (w) => {
  const client = w.asAdmin()
  const name = unique('int')
  const hidden = await w.newIntegration({ name, version: '1.0.0' })
  const shown = await w.newIntegration({ name, version: '1.1.0', public: true })
  assert.deepEqual([shown.public, shown.visibility], [true, 'public'])
  const { integration } = await client.getPublicIntegration({ name, version: '1.1.0' })
  assert.equal(integration.id, shown.id)
  assert.equal(integration.ownerWorkspace.id, server.workspaceId)
  assert.equal((await client.getPublicIntegrationById({ id: shown.id })).integration.id, shown.id)
  const { integrations } = await client.listPublicIntegrations({ name })
  assert.deepEqual(integrations.map((one) => one.id), [shown.id])
  await w.refused('ResourceNotFound', client.getPublicIntegrationById({ id: hidden.id }))
  await w.refused('ResourceNotFound', client.getPublicIntegration({ name, version: '1.0.0' }))
  await w.refused('ResourceNotFound', client.getPublicIntegration({ name: unique('none'), version: 'latest' }))
})

every('validation says what creating and updating would, and does nothing', 'validateIntegrationCreation', async (w) => {
  const client = w.asAdmin()
  const wanted = { name: unique('int'), version: '1.0.0' }
  assert.deepEqual(await client.validateIntegrationCreation(wanted), {})
  await w.refused('ResourceNotFound', client.getIntegrationByName(wanted))
  const integration = await w.newIntegration()
  await w.refused('AlreadyExists', client.validateIntegrationCreation({ name: integration.name, version: '1.0.0' }))
  assert.deepEqual(await client.validateIntegrationUpdate({ id: integration.id, title: 'Other' }), {})
  assert.equal((await client.getIntegration({ id: integration.id })).integration.title, integration.title)
  await w.refused('ResourceNotFound', client.validateIntegrationUpdate({ id: nobody('intver'), title: 'x' }))
})

every('a malformed schema or key is refused', 'createIntegration', async (w) => {
  const client = w.asAdmin()
  const make = (fields) => client.createIntegration({ name: unique('int'), version: '1.0.0', ...fields })
  await w.refused('InvalidPayload', make({ states: { s: { type: 'planet', schema } } }))
  await w.refused('InvalidIdentifier', make({ events: { 'not a key': { schema } } }))
  await w.refused('InvalidIdentifier', make({ channels: { 'a:b': { messages: {} } } }))
})
