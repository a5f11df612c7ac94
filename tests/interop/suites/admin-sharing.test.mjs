// Who may use a bot and whose it is, and what else workspaces share: admin.md §§ 5.3, 6.

import { assert, every, nobody, once, raw, server, unique } from '../lib/harness.mjs'

every('a bot is restricted to members that are listed', 'updateBotAllowlist', async (w) => {
  const client = w.asAdmin()
  const { id: botId } = await w.newBot()
  assert.deepEqual(await client.getBotAllowlist({ botId }), { setting: 'ALL_WORKSPACE_USERS', users: [] })
  const { account } = await client.getAccount({})
  const users = { [account.id]: true }
  assert.deepEqual(await client.updateBotAllowlist({ botId, setting: 'SELECTED_USERS', users }), {})
  const restricted = { setting: 'SELECTED_USERS', users: [{ id: account.id }] }
  assert.deepEqual(await client.getBotAllowlist({ botId }), restricted)
  assert.deepEqual(await client.updateBotAllowlist({ botId, users: { [account.id]: false } }), {})
  assert.deepEqual(await client.getBotAllowlist({ botId }), { ...restricted, users: [] })
  assert.equal((await client.getBot({ id: botId })).bot.id, botId, 'owners need not be listed')
  await client.updateBotAllowlist({ botId, setting: 'ALL_WORKSPACE_USERS' })
  await w.refused('ReferenceNotFound', client.updateBotAllowlist({ botId, users: { [server.workspaceId]: true } }))
  await w.refused('InvalidPayload', client.updateBotAllowlist({ botId, setting: 'NOBODY' }))
  await w.refused('ResourceNotFound', client.updateBotAllowlist({ botId: nobody('bot'), setting: 'SELECTED_USERS' }))
  await w.refused('ResourceNotFound', client.getBotAllowlist({ botId: nobody('bot') }))
})

every('a bot moves to another workspace', 'transferBot', async (w) => {
  const client = w.asAdmin()
  const { bot, client: runtime, conversation } = await w.scene()
  const { id: targetWorkspaceId } = await client.createWorkspace({ name: unique('w') })
  const there = w.asAdmin({ workspaceId: targetWorkspaceId })
  const integration = await w.newIntegration()
  await w.install(bot, integration)
  await w.refused('RelationConflict', client.transferBot({ id: bot.id, targetWorkspaceId }))
  await client.updateBot({ id: bot.id, integrations: { [integration.name]: null } })
  assert.deepEqual(await client.transferBot({ id: bot.id, targetWorkspaceId }), {})
  await w.refused('ResourceNotFound', client.getBot({ id: bot.id }))
  assert.equal((await there.getBot({ id: bot.id })).bot.name, bot.name)
  assert.equal((await runtime.getConversation({ id: conversation.id })).conversation.id, conversation.id)
  await w.refused('ResourceNotFound', client.transferBot({ id: bot.id, targetWorkspaceId }))
  await w.refused('ReferenceNotFound', there.transferBot({ id: bot.id, targetWorkspaceId: nobody('wkspace') }))
  await there.deleteBot({ id: bot.id })
  await there.deleteWorkspace({ id: targetWorkspaceId })
})

every('no bot has a web chat', 'getBotWebchat', async (w) => {
  const client = w.asAdmin()
  const { id } = await w.newBot()
  for (const type of ['preconfigured', 'configurable', 'fullscreen', 'sharableUrl']) {
    await w.refused('ResourceNotFound', client.getBotWebchat({ id, type }))
  }
  await w.refused('InvalidQuery', client.getBotWebchat({ id, type: 'other' }))
})

every('no conversation is linked to a sandbox', 'unlinkSandboxedConversations', async (w) => {
  const client = w.asAdmin()
  const [bot, integration] = [await w.newBot(), await w.newIntegration()]
  const of = { botId: bot.id, integrationId: integration.id }
  await w.refused('ResourceNotFound', client.unlinkSandboxedConversations(of))
  await w.install(bot, integration, 'mine')
  assert.deepEqual(await client.unlinkSandboxedConversations(of), {})
  assert.deepEqual(await client.unlinkSandboxedConversations({ ...of, integrationInstanceAlias: 'mine' }), {})
})

every('an integration is verified when that is asked for', 'requestIntegrationVerification', async (w) => {
  const client = w.asAdmin()
  const { id, name } = await w.newIntegration()
  assert.deepEqual(await client.requestIntegrationVerification({ integrationId: id }), {})
  assert.equal((await client.getIntegration({ id })).integration.verificationStatus, 'approved')
  await w.refused('ResourceNotFound', client.requestIntegrationVerification({ integrationId: nobody('intver') }))
  if (!w.since('1.16')) return
  const listed = async (verificationStatus) => (await client.listIntegrations({ name, verificationStatus })).integrations.length
  assert.deepEqual([await listed('approved'), await listed('unapproved')], [1, 0])
})

once('keys of bots share nothing', async (w) => {
  const bot = await w.newBot()
  const { value: token } = await w.asAdmin().createBotApiKey({ botId: bot.id })
  const headers = { 'x-workspace-id': server.workspaceId }
  for (const path of ['allowlist', 'webchat?type=fullscreen']) {
    assert.equal((await raw('GET', `/v1/admin/bots/${bot.id}/${path}`, { token, headers })).body.type, 'Forbidden')
  }
})
