// Workspaces and members: admin.md § 4, auth-and-identity.md § 3.

import { assert, every, once, recent, server, unique } from '../lib/harness.mjs'

const missing = '00000000-0000-4000-8000-000000000000'

every('a workspace is created, read, changed, listed and deleted', 'createWorkspace', async (w) => {
  const client = w.asAdmin()
  const name = unique('Workspace')
  const workspace = await client.createWorkspace({ name })
  assert.match(workspace.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4/)
  assert.equal(workspace.name, name)
  assert.equal(workspace.botCount, 0)
  assert.equal(workspace.billingVersion, 'v4')
  assert.equal(workspace.plan, 'enterprise')
  assert.equal(workspace.blocked, false)
  assert.equal(workspace.spendingLimit, 0)
  assert.equal(workspace.activeTrialId, null)
  assert.deepEqual(workspace.socialAccounts, [])
  assert.equal(workspace.ownerId, (await client.getAccount({})).account.id)
  recent(workspace.createdAt)
  assert.deepEqual(await client.getWorkspace({ id: workspace.id }), workspace)
  const handle = unique('ws')
  const changed = await client.updateWorkspace({ id: workspace.id, name: 'New', about: 'us', handle })
  assert.deepEqual([changed.name, changed.about, changed.handle], ['New', 'us', handle])
  const all = await client.list.workspaces({}).collect()
  assert.equal(all.find((one) => one.id === workspace.id).name, 'New')
  if (w.since('1.16')) {
    assert.deepEqual((await client.listWorkspaces({ handle })).workspaces.map((one) => one.id), [workspace.id])
  }
  assert.deepEqual(await client.deleteWorkspace({ id: workspace.id }), {})
  await w.refused('ResourceNotFound', client.getWorkspace({ id: workspace.id }))
})

every('unknown workspaces and wrong fields are refused', 'updateWorkspace', async (w) => {
  const client = w.asAdmin()
  await w.refused('ResourceNotFound', client.getWorkspace({ id: missing }))
  await w.refused('ResourceNotFound', client.updateWorkspace({ id: missing, name: 'x' }))
  await w.refused('ResourceNotFound', client.deleteWorkspace({ id: missing }))
  await w.refused('InvalidPayload', client.createWorkspace({}))
  const { id } = await client.createWorkspace({ name: unique('w') })
  await w.refused('InvalidPayload', client.updateWorkspace({ id, name: '' }))
  await w.refused('InvalidPayload', client.updateWorkspace({ id, handle: 'Not A Handle' }))
  await client.deleteWorkspace({ id })
})

every('a handle belongs to one workspace', 'checkHandleAvailability', async (w) => {
  const client = w.asAdmin()
  const handle = unique('h')
  assert.equal((await client.checkHandleAvailability({ handle })).available, true)
  const [one, two] = [await client.createWorkspace({ name: 'one' }), await client.createWorkspace({ name: 'two' })]
  await client.updateWorkspace({ id: one.id, handle })
  const taken = await client.checkHandleAvailability({ handle })
  assert.equal(taken.available, false)
  assert.equal(taken.usedBy, one.id)
  await w.refused('AlreadyExists', client.updateWorkspace({ id: two.id, handle }))
  for (const { id } of [one, two]) await client.deleteWorkspace({ id })
})

every('a workspace with bots is not deleted', 'deleteWorkspace', async (w) => {
  const { id: workspaceId } = await w.asAdmin().createWorkspace({ name: unique('w') })
  const client = w.asAdmin({ workspaceId })
  const { bot } = await client.createBot({ name: 'b' })
  assert.equal((await client.getWorkspace({ id: workspaceId })).botCount, 1)
  await w.refused('ReferenceConstraint', client.deleteWorkspace({ id: workspaceId }))
  await client.deleteBot({ id: bot.id })
  assert.deepEqual(await client.deleteWorkspace({ id: workspaceId }), {})
})

every('members are added, listed, changed and removed', 'createWorkspaceMember', async (w) => {
  const { id: workspaceId } = await w.asAdmin().createWorkspace({ name: unique('w') })
  const client = w.asAdmin({ workspaceId })
  const me = await client.getWorkspaceMember({})
  assert.equal(me.role, 'owner')
  assert.equal(me.email, (await client.getAccount({})).account.email)
  const email = `${unique('m')}@example.com`
  const member = await client.createWorkspaceMember({ email, role: 'viewer' })
  assert.equal(member.email, email)
  assert.equal(member.role, 'viewer')
  const { members } = await client.listWorkspaceMembers({})
  assert.deepEqual(new Set(members.map((one) => one.email)), new Set([me.email, email]))
  assert.equal((await client.updateWorkspaceMember({ id: member.id, role: 'developer' })).role, 'developer')
  await w.refused('AlreadyExists', client.createWorkspaceMember({ email, role: 'viewer' }))
  await w.refused('InvalidPayload', client.createWorkspaceMember({ email: 'nobody', role: 'viewer' }))
  await w.refused('InvalidPayload', client.createWorkspaceMember({ email: `x${email}`, role: 'king' }))
  assert.deepEqual(await client.deleteWorkspaceMember({ id: member.id }), {})
  await w.refused('ResourceNotFound', client.deleteWorkspaceMember({ id: member.id }))
  await w.refused('RelationConflict', client.deleteWorkspaceMember({ id: me.id }))
  await w.refused('RelationConflict', client.updateWorkspaceMember({ id: me.id, role: 'viewer' }))
  await client.deleteWorkspace({ id: workspaceId })
})

once('the workspace of the suite is listed', async (w) => {
  const all = await w.asAdmin().list.workspaces({}).collect()
  assert.ok(all.some((one) => one.id === server.workspaceId))
})

every('preferences of a workspace', 'setWorkspacePreference', async (w) => {
  const client = w.asAdmin()
  const key = unique('pref')
  assert.deepEqual(await client.getWorkspacePreference({ key }), { value: null })
  await client.setWorkspacePreference({ key, value: { theme: 'dark' } })
  assert.deepEqual(await client.getWorkspacePreference({ key }), { value: { theme: 'dark' } })
})

every('public workspaces show their public side', 'getPublicWorkspace', async (w) => {
  const client = w.asAdmin()
  const workspace = await client.createWorkspace({ name: unique('w') })
  await client.updateWorkspace({ id: workspace.id, isPublic: true, about: 'open' })
  const seen = await client.getPublicWorkspace({ id: workspace.id })
  assert.equal(seen.about, 'open')
  assert.equal('ownerId' in seen, false)
  const { workspaces } = await client.listPublicWorkspaces({ workspaceIds: [workspace.id] })
  assert.deepEqual(workspaces.map((one) => one.id), [workspace.id])
  await w.refused('ResourceNotFound', client.getPublicWorkspace({ id: missing }))
  await client.deleteWorkspace({ id: workspace.id })
})

every('what members do is recorded', 'getAuditRecords', async (w) => {
  const { id } = await w.asAdmin().createWorkspace({ name: unique('w') })
  const client = w.asAdmin({ workspaceId: id })
  const { account } = await client.getAccount({})
  const email = `${unique('m')}@example.com`
  const member = await client.createWorkspaceMember({ email, role: 'viewer' })
  const { bot } = await client.createBot({ name: 'b' })
  await client.updateBot({ id: bot.id, url: 'http://127.0.0.1:9' })
  await client.deleteBot({ id: bot.id })
  const { records } = await client.getAuditRecords({ id })
  assert.deepEqual(
    records.map((record) => [record.action, record.resourceId, record.resourceName, record.value]),
    [
      ['DELETE_BOT', bot.id, 'b', null],
      ['DEPLOY_BOT', bot.id, 'b', null],
      ['CREATE_BOT', bot.id, 'b', null],
      ['ADD_WORKSPACE_MEMBER', member.id, email, 'viewer'],
      ['CREATE_WORKSPACE', id, records[4].resourceName, null],
    ],
  )
  assert.ok(records.every((record) => record.userId === account.id && record.userEmail === account.email))
  recent(records[0].recordedAt)
  await w.refused('ResourceNotFound', client.getAuditRecords({ id: missing }))
  await client.deleteWorkspace({ id })
})
