// Node's path functions for POSIX paths.
const normalize = path => {
  const rooted = path.startsWith('/')
  const parts = []
  for (const part of path.split('/')) {
    if (!part || part === '.') continue
    if (part === '..' && parts.length && parts[parts.length - 1] !== '..') parts.pop()
    else if (part !== '..' || !rooted) parts.push(part)
  }
  const joined = parts.join('/')
  const end = joined && path.endsWith('/') ? '/' : ''
  return (rooted ? '/' : '') + joined + end || (rooted ? '/' : '.')
}
const join = (...parts) => normalize(parts.filter(part => part !== '').join('/'))
const resolve = (...parts) => {
  let path = ''
  for (const part of parts.reverse()) {
    if (!part) continue
    path = path ? `${part}/${path}` : part
    if (part.startsWith('/')) break
  }
  const full = normalize(path.startsWith('/') ? path : `/${path}`)
  return full.length > 1 ? full.replace(/\/$/, '') : full
}
const basename = (path, suffix = '') => {
  const base = path.replace(/\/+$/, '').split('/').pop()
  return suffix && base !== suffix && base.endsWith(suffix) ? base.slice(0, -suffix.length) : base
}
const dirname = path => {
  const cut = path.replace(/\/+$/, '')
  const at = cut.lastIndexOf('/')
  return at < 0 ? '.' : cut.slice(0, at) || '/'
}
const extname = path => {
  const base = basename(path)
  const at = base.lastIndexOf('.')
  return at > 0 ? base.slice(at) : ''
}
const relative = (from, to) => {
  const [a, b] = [resolve(from), resolve(to)].map(path => path.split('/').filter(Boolean))
  let same = 0
  while (same < a.length && a[same] === b[same]) same++
  return [...a.slice(same).map(() => '..'), ...b.slice(same)].join('/')
}
const parse = path => {
  const base = basename(path)
  const ext = extname(path)
  const dir = path.includes('/') ? dirname(path) : ''
  return { root: path.startsWith('/') ? '/' : '', dir, base, ext, name: ext ? base.slice(0, -ext.length) : base }
}
const format = ({ dir, root, base, name = '', ext = '' }) => {
  const file = base || name + ext
  return dir ? (dir === root ? dir + file : `${dir}/${file}`) : (root || '') + file
}
Object.assign(exports, { normalize, join, resolve, basename, dirname, extname, relative, parse, format, isAbsolute: path => path.startsWith('/'), sep: '/', delimiter: ':' })
exports.posix = exports
