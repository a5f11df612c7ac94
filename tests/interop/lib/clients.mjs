// The official client in the versions under test, newest first.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** `version` is what test titles and `since` speak of; `lib` is the package's exports. */
export const clients = ['1.45', '1.16', '0.41', '0.29'].map((version) => ({
  version,
  lib: require(`client-${version}`),
}))

export const newest = clients[0]

/** Whether this version's client has a method of that name. */
export function has({ lib }, operation) {
  const probe = new lib.Client({ apiUrl: 'http://127.0.0.1:9', token: 'none' })
  return typeof probe[operation] === 'function'
}
