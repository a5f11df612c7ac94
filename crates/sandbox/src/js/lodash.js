// The functions of lodash that scripts use most.
const isObject = value => value !== null && (typeof value === 'object' || typeof value === 'function')
const isPlainObject = value => {
  if (value === null || typeof value !== 'object') return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
const isNil = value => value === null || value === undefined
const isFunction = value => typeof value === 'function'
const isString = value => typeof value === 'string' || value instanceof String
const isNumber = value => typeof value === 'number' || value instanceof Number
const isDate = value => value instanceof Date
const isArray = Array.isArray
const isArrayLike = value => !isNil(value) && !isFunction(value) && Number.isSafeInteger(value.length) && value.length >= 0
const unsafe = key => key === '__proto__' || key === 'constructor' || key === 'prototype'

// ---- paths ----

const toPath = path => {
  if (isArray(path)) return path.map(key => (typeof key === 'symbol' ? key : String(key)))
  if (typeof path === 'symbol') return [path]
  const keys = []
  String(path).replace(/[^.[\]]+|\[(?:(-?\d+(?:\.\d+)?)|(["'])(.*?)\2)\]|(?=(?:\.|\[\])(?:\.|\[\]|$))/g, (match, number, mark, text) => {
    keys.push(mark ? text : number !== undefined ? number : match)
  })
  return keys
}
const keysOf = (object, path) => (!isArray(path) && isObject(object) && path in object ? [path] : toPath(path))
const get = (object, path, otherwise) => {
  let value = object
  for (const key of isNil(object) ? [''] : keysOf(object, path)) {
    if (isNil(value)) return otherwise
    value = value[key]
  }
  return value === undefined ? otherwise : value
}
const walk = (object, path, own) => {
  const keys = keysOf(object, path)
  let value = object
  for (const key of keys) {
    if (isNil(value) || !(own ? Object.hasOwn(Object(value), key) : key in Object(value))) return false
    value = value[key]
  }
  return keys.length > 0
}
const update = (object, path, change) => {
  if (!isObject(object)) return object
  const keys = keysOf(object, path)
  let value = object
  for (let at = 0; at < keys.length; at++) {
    const key = keys[at]
    if (unsafe(key)) return object
    if (at === keys.length - 1) value[key] = change(value[key])
    else {
      if (!isObject(value[key])) value[key] = /^(0|[1-9]\d*)$/.test(keys[at + 1]) ? [] : {}
      value = value[key]
    }
  }
  return object
}
const set = (object, path, value) => update(object, path, () => value)
const unset = (object, path) => {
  const keys = keysOf(object, path)
  const above = keys.length > 1 ? get(object, keys.slice(0, -1)) : object
  return isNil(above) || unsafe(keys[keys.length - 1]) ? true : delete above[keys[keys.length - 1]]
}

// ---- comparing and copying ----

const isEqualWith = (a, b, seen) => {
  if (a === b || (a !== a && b !== b)) return true
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false
  const type = Object.prototype.toString.call(a)
  if (type !== Object.prototype.toString.call(b)) return false
  if (a instanceof Date) return Object.is(+a, +b)
  if (a instanceof RegExp) return String(a) === String(b)
  if (a instanceof Error) return a.name === b.name && a.message === b.message
  if (/Number|String|Boolean/.test(type)) return Object.is(a.valueOf(), b.valueOf())
  if (seen.get(a) === b) return true
  seen.set(a, b)
  if (a instanceof Map) return a.size === b.size && [...a].every(([key, value]) => b.has(key) && isEqualWith(value, b.get(key), seen))
  if (a instanceof Set) return a.size === b.size && [...a].every(value => b.has(value) || [...b].some(other => isEqualWith(value, other, seen)))
  if (isPlainObject(a) !== isPlainObject(b) && !isArray(a)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every(key => Object.hasOwn(b, key) && isEqualWith(a[key], b[key], seen))
}
const isEqual = (a, b) => isEqualWith(a, b, new Map())
const isMatch = (object, source) =>
  Object.keys(source || {}).every(key => {
    const [a, b] = [isNil(object) ? undefined : object[key], source[key]]
    if (isNil(object) || !(key in Object(object))) return false
    if (isArray(b)) return isArray(a) && b.every(item => a.some(other => (isObject(item) ? isMatch(other, item) : isEqual(other, item))))
    return isPlainObject(b) && isObject(a) ? isMatch(a, b) : isEqual(a, b)
  })
const copy = (value, seen) => {
  if (value === null || typeof value !== 'object') return value
  if (seen.has(value)) return seen.get(value)
  if (value instanceof Date) return new Date(+value)
  if (value instanceof RegExp) return new RegExp(value.source, value.flags)
  if (ArrayBuffer.isView(value)) return value.slice()
  const made = isArray(value) ? new Array(value.length) : value instanceof Map ? new Map() : value instanceof Set ? new Set() : Object.create(Object.getPrototypeOf(value))
  seen.set(value, made)
  if (value instanceof Map) for (const [key, item] of value) made.set(copy(key, seen), copy(item, seen))
  else if (value instanceof Set) for (const item of value) made.add(copy(item, seen))
  else for (const key of Reflect.ownKeys(value)) if (Object.prototype.propertyIsEnumerable.call(value, key)) made[key] = copy(value[key], seen)
  return made
}
const cloneDeep = value => copy(value, new Map())
const clone = value => {
  if (!isObject(value) || isFunction(value)) return value
  if (isArray(value)) return value.slice()
  if (value instanceof Map) return new Map(value)
  if (value instanceof Set) return new Set(value)
  return isPlainObject(value) ? { ...value } : Object.assign(copy(new value.constructor(value), new Map()), value)
}

// ---- iteratees ----

const identity = value => value
const property = path => object => get(object, path)
const matches = source => {
  const kept = cloneDeep(source)
  return object => isMatch(object, kept)
}
const iteratee = value => {
  if (isFunction(value)) return value
  if (isNil(value)) return identity
  if (isArray(value)) {
    const [path, wanted] = value
    return object => isEqual(get(object, path), wanted)
  }
  return isObject(value) ? matches(value) : property(value)
}
const entriesOf = all => {
  if (isNil(all)) return []
  if (isArrayLike(all)) return Array.from(all, (value, at) => [at, value])
  if (all instanceof Map) return [...all]
  if (all instanceof Set) return [...all].map(value => [value, value])
  return Object.keys(all).map(key => [key, all[key]])
}
const valuesOf = all => entriesOf(all).map(([, value]) => value)
const flat = (list, depth) => (isArrayLike(list) ? Array.from(list).flat(depth) : [])

// ---- collections ----

const map = (all, by) => {
  const pick = iteratee(by)
  return entriesOf(all).map(([key, value]) => pick(value, key, all))
}
const forEach = (all, visit) => {
  for (const [key, value] of entriesOf(all)) if (visit(value, key, all) === false) break
  return all
}
const filter = (all, by) => {
  const keep = iteratee(by)
  return entriesOf(all).filter(([key, value]) => keep(value, key, all)).map(([, value]) => value)
}
const reject = (all, by) => {
  const drop = iteratee(by)
  return filter(all, (value, key) => !drop(value, key, all))
}
const find = (all, by, from = 0) => {
  const wanted = iteratee(by)
  const found = entriesOf(all).slice(from).find(([key, value]) => wanted(value, key, all))
  return found && found[1]
}
const findLast = (all, by) => find(valuesOf(all).reverse(), by)
const findIndex = (list, by, from = 0) => {
  const wanted = iteratee(by)
  for (let at = from; at < (list || []).length; at++) if (wanted(list[at], at, list)) return at
  return -1
}
const findLastIndex = (list, by) => {
  const wanted = iteratee(by)
  for (let at = (list || []).length - 1; at >= 0; at--) if (wanted(list[at], at, list)) return at
  return -1
}
const reduce = (all, step, ...first) => {
  const entries = entriesOf(all)
  let value = first.length ? first[0] : entries.length ? entries.shift()[1] : undefined
  for (const [key, item] of entries) value = step(value, item, key, all)
  return value
}
const reduceRight = (all, step, ...first) => {
  const entries = entriesOf(all).reverse()
  let value = first.length ? first[0] : entries.length ? entries.shift()[1] : undefined
  for (const [key, item] of entries) value = step(value, item, key, all)
  return value
}
const collect = (all, by, put) => {
  const key = iteratee(by)
  const made = {}
  for (const value of valuesOf(all)) {
    const at = String(key(value))
    if (!unsafe(at)) put(made, at, value)
  }
  return made
}
const own = (made, key) => Object.hasOwn(made, key)
const groupBy = (all, by) => collect(all, by, (made, key, value) => (own(made, key) ? made[key].push(value) : (made[key] = [value])))
const keyBy = (all, by) => collect(all, by, (made, key, value) => (made[key] = value))
const countBy = (all, by) => collect(all, by, (made, key) => (made[key] = own(made, key) ? made[key] + 1 : 1))
const partition = (all, by) => [filter(all, by), reject(all, by)]
const some = (all, by) => {
  const test = iteratee(by)
  return entriesOf(all).some(([key, value]) => test(value, key, all))
}
const every = (all, by) => {
  const test = iteratee(by)
  return entriesOf(all).every(([key, value]) => test(value, key, all))
}
const includes = (all, value, from = 0) =>
  isString(all) ? all.includes(value, from) : valuesOf(all).includes(value, from)
const order = (a, b) => {
  if (a === b) return 0
  const rank = value => (value === undefined ? 3 : value === null ? 2 : value !== value ? 4 : typeof value === 'symbol' ? 1 : 0)
  const [x, y] = [rank(a), rank(b)]
  return x !== y ? x - y : x ? 0 : a > b ? 1 : a < b ? -1 : 0
}
const orderBy = (all, by, directions) => {
  const keys = (isNil(by) || by.length === 0 ? [identity] : isArray(by) ? by : [by]).map(iteratee)
  const signs = [].concat(directions || []).map(direction => (direction === 'desc' ? -1 : 1))
  const rows = valuesOf(all).map((value, at) => ({ value, at, keys: keys.map(key => key(value)) }))
  rows.sort((a, b) => {
    for (let at = 0; at < keys.length; at++) {
      const found = order(a.keys[at], b.keys[at])
      if (found) return found * (signs[at] || 1)
    }
    return a.at - b.at
  })
  return rows.map(row => row.value)
}
const sortBy = (all, ...by) => orderBy(all, by.length ? by.flat() : undefined)
const size = all => (isNil(all) ? 0 : isString(all) || isArrayLike(all) ? all.length : isNumber(all.size) ? all.size : Object.keys(all).length)
const invokeMap = (all, name, ...args) => map(all, value => (isFunction(name) ? name.apply(value, args) : invoke(value, name, ...args)))
const sample = all => {
  const values = valuesOf(all)
  return values[Math.floor(Math.random() * values.length)]
}
const shuffle = all => {
  const values = valuesOf(all)
  for (let at = values.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1))
    ;[values[at], values[other]] = [values[other], values[at]]
  }
  return values
}

// ---- arrays ----

const listOf = list => (isArrayLike(list) ? Array.from(list) : [])
const uniqBy = (list, by) => {
  const key = iteratee(by)
  const seen = new Set()
  return listOf(list).filter(value => {
    const at = key(value)
    return !seen.has(at) && seen.add(at)
  })
}
const uniqWith = (list, same) => listOf(list).reduce((kept, value) => (kept.some(known => same(value, known)) ? kept : [...kept, value]), [])
const split = lists => {
  const by = isArrayLike(lists[lists.length - 1]) && !isString(lists[lists.length - 1]) ? undefined : lists.pop()
  return [lists, iteratee(by)]
}
const difference = (list, ...others) => {
  const gone = new Set(others.flatMap(listOf))
  return listOf(list).filter(value => !gone.has(value))
}
const differenceBy = (list, ...rest) => {
  const [others, key] = split(rest)
  const gone = new Set(others.flatMap(listOf).map(value => key(value)))
  return listOf(list).filter(value => !gone.has(key(value)))
}
const intersectionBy = (list, ...rest) => {
  const [others, key] = split(rest)
  const sets = others.map(other => new Set(listOf(other).map(value => key(value))))
  return uniqBy(list, key).filter(value => sets.every(set => set.has(key(value))))
}
const zip = (...lists) => Array.from({ length: Math.max(0, ...lists.map(size)) }, (_, at) => lists.map(list => list[at]))
const pull = (list, ...values) => {
  remove(list, value => values.includes(value))
  return list
}
const remove = (list, by) => {
  const drop = iteratee(by)
  const gone = []
  for (let at = 0; at < list.length; ) {
    if (drop(list[at], at, list)) gone.push(...list.splice(at, 1))
    else at++
  }
  return gone
}
const range = step => (start, end, by) => {
  if (end === undefined) [start, end] = [0, start]
  by = by === undefined ? (start < end ? 1 : -1) : by
  const made = []
  for (let left = Math.max(Math.ceil((end - start) / (by || 1)), 0), at = start; left > 0; left--, at += by) made.push(at)
  return step < 0 ? made.reverse() : made
}
const sumBy = (list, by) => {
  const key = iteratee(by)
  return listOf(list).reduce((sum, value) => sum + (key(value) ?? 0), 0)
}
const extreme = (list, by, better) => {
  const key = iteratee(by)
  let found
  for (const value of listOf(list)) {
    const at = key(value)
    if (!isNil(at) && at === at && (!found || better(at, found.at))) found = { value, at }
  }
  return found && found.value
}
const takeWhile = (list, by) => {
  const end = findIndex(list, (value, at) => !iteratee(by)(value, at, list))
  return listOf(list).slice(0, end < 0 ? undefined : end)
}
const dropWhile = (list, by) => listOf(list).slice(takeWhile(list, by).length)

// ---- objects ----

const keys = object => (isNil(object) ? [] : Object.keys(Object(object)))
const keysIn = object => {
  const found = []
  for (const key in Object(object)) found.push(key)
  return found
}
const pickBy = (object, by = identity) => {
  const keep = iteratee(by)
  return Object.fromEntries(keysIn(object).filter(key => keep(object[key], key)).map(key => [key, object[key]]))
}
const omitBy = (object, by) => {
  const drop = iteratee(by)
  return pickBy(object, (value, key) => !drop(value, key))
}
const pick = (object, ...paths) => {
  const made = {}
  for (const path of paths.flat()) if (walk(object, path)) set(made, keysOf(object, path), get(object, path))
  return made
}
const omit = (object, ...paths) => {
  const all = paths.flat()
  const made = all.some(path => keysOf(object, path).length > 1) ? cloneDeep({ ...object }) : pickBy(object, () => true)
  for (const path of all) unset(made, path)
  return made
}
const mapValues = (object, by) => {
  const pick = iteratee(by)
  return Object.fromEntries(keys(object).map(key => [key, pick(object[key], key, object)]))
}
const mapKeys = (object, by) => {
  const pick = iteratee(by)
  return Object.fromEntries(keys(object).map(key => [pick(object[key], key, object), object[key]]))
}
const mergeWith = (target, ...rest) => {
  const custom = isFunction(rest[rest.length - 1]) ? rest.pop() : () => undefined
  for (const source of rest) {
    for (const key of isNil(source) ? [] : keysIn(source)) {
      if (unsafe(key)) continue
      const value = source[key]
      const made = custom(target[key], value, key, target, source)
      if (made !== undefined) target[key] = made
      else if (isArray(value)) target[key] = mergeWith(isArray(target[key]) ? target[key] : [], value, custom)
      else if (isPlainObject(value)) target[key] = mergeWith(isObject(target[key]) ? target[key] : {}, value, custom)
      else if (value !== undefined || !(key in target)) target[key] = value
    }
  }
  return target
}
const defaults = (object, ...sources) => {
  const target = Object(object)
  for (const source of sources) for (const key of keysIn(source || {})) if (target[key] === undefined && !unsafe(key)) target[key] = source[key]
  return target
}
const defaultsDeep = (object, ...sources) => {
  const target = Object(object)
  for (const source of sources) {
    for (const key of keysIn(source || {})) {
      if (unsafe(key)) continue
      if (target[key] === undefined) target[key] = cloneDeep(source[key])
      else if (isPlainObject(target[key]) && isPlainObject(source[key])) defaultsDeep(target[key], source[key])
    }
  }
  return target
}
const invoke = (object, path, ...args) => {
  const all = keysOf(object, path)
  const on = all.length > 1 ? get(object, all.slice(0, -1)) : object
  const method = isNil(on) ? undefined : on[all[all.length - 1]]
  return isNil(method) ? undefined : method.apply(on, args)
}
const isEmpty = value => {
  if (isNil(value) || typeof value === 'number' || typeof value === 'boolean') return true
  if (isString(value) || isArray(value) || isArrayLike(value)) return value.length === 0
  return value instanceof Map || value instanceof Set ? value.size === 0 : Object.keys(value).length === 0
}
const transform = (object, step, made = isArray(object) ? [] : {}) => {
  forEach(object, (value, key) => step(made, value, key, object))
  return made
}

// ---- texts ----

const text = value => (isNil(value) ? '' : isArray(value) ? value.map(item => (isNil(item) ? String(item) : text(item))).join(',') : Object.is(value, -0) ? '-0' : String(value))
const deburr = value =>
  text(value).normalize('NFD').replace(/[\u0300-\u036f]/g, '').replace(/[ßæøœđłÆØŒĐŁ]/g, char => ({ ß: 'ss', æ: 'ae', ø: 'o', œ: 'oe', đ: 'd', ł: 'l', Æ: 'Ae', Ø: 'O', Œ: 'Oe', Đ: 'D', Ł: 'L' })[char])
const words = (value, pattern) =>
  text(value).match(pattern || /\d*(?:1st|2nd|3rd|(?![123])\dth)(?![\p{Ll}\d])|\d*(?:1ST|2ND|3RD|(?![123])\dTH)(?![\p{L}\d])|\p{Lu}+(?=\p{Lu}\p{Ll})|\p{Lu}?\p{Ll}+|\p{Lu}+|\d+|[\p{Lo}\p{Lm}]+/gu) || []
const wordsOf = value => words(deburr(value).replace(/['\u2019]/g, ''))
const upperFirst = value => text(value).replace(/^./u, char => char.toUpperCase())
const lowerFirst = value => text(value).replace(/^./u, char => char.toLowerCase())
const capitalize = value => upperFirst(text(value).toLowerCase())
const pad = (value, length, fill = ' ') => {
  const left = Math.floor(Math.max(0, length - text(value).length) / 2)
  return text(value).padStart(text(value).length + left, fill).padEnd(length || 0, fill)
}
const marks = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const unmarks = Object.fromEntries(Object.entries(marks).map(([char, mark]) => [mark, char]))
const escapeRegExp = value => text(value).replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
const trimmer = (start, end) => (value, chars) => {
  const set = chars === undefined ? '\\s' : escapeRegExp(chars).replace(/-/g, '\\-')
  let done = text(value)
  if (start) done = done.replace(new RegExp(`^[${set}]+`), '')
  return end ? done.replace(new RegExp(`[${set}]+$`), '') : done
}
const truncate = (value, { length = 30, omission = '...', separator } = {}) => {
  const whole = text(value)
  if (whole.length <= length) return whole
  const cut = whole.slice(0, Math.max(0, length - omission.length))
  const at = separator === undefined ? -1 : separator instanceof RegExp ? cut.search(new RegExp(`(?:${separator.source})(?!.*(?:${separator.source}))`)) : cut.lastIndexOf(separator)
  return (at > 0 ? cut.slice(0, at) : cut) + omission
}
const template = (source, { interpolate = /<%=([\s\S]+?)%>/g } = {}) => {
  const parts = text(source)
  return (data = {}) => {
    const names = Object.keys(data)
    const evaluate = code => new Function(...names, `return (${code})`)(...names.map(name => data[name]))
    return parts
      .replace(/<%-([\s\S]+?)%>/g, (_, code) => escape(text(evaluate(code))))
      .replace(interpolate, (_, code) => text(evaluate(code)))
      .replace(/\$\{([^}]+)\}/g, (_, code) => text(evaluate(code)))
  }
}
const escape = value => text(value).replace(/[&<>"']/g, char => marks[char])

// ---- numbers and functions ----

const round = name => (value, places = 0) => {
  const shifted = Math[name](Number(`${value}e${places}`))
  return Number(`${shifted}e${-places}`)
}
const toNumber = value => (typeof value === 'symbol' ? NaN : Number(isObject(value) ? value.valueOf() : value))
const toFinite = value => {
  const number = toNumber(value)
  return number === Infinity ? Number.MAX_VALUE : number === -Infinity ? -Number.MAX_VALUE : number || 0
}
const random = (low = 1, high, floating) => {
  if (typeof high === 'boolean') [high, floating] = [undefined, high]
  if (high === undefined) [low, high] = [0, low]
  if (low > high) [low, high] = [high, low]
  return floating || low % 1 || high % 1 ? low + Math.random() * (high - low) : low + Math.floor(Math.random() * (high - low + 1))
}
const clamp = (value, low, high) => (high === undefined ? Math.min(value, low) : Math.min(Math.max(value, low), high))
const memoize = (original, resolver) => {
  const memoized = function (...args) {
    const key = resolver ? resolver.apply(this, args) : args[0]
    if (!memoized.cache.has(key)) memoized.cache.set(key, original.apply(this, args))
    return memoized.cache.get(key)
  }
  memoized.cache = new Map()
  return memoized
}
const debounce = (original, wait = 0, { leading = false, trailing = true } = {}) => {
  let timer, last, result
  const debounced = function (...args) {
    last = () => (result = original.apply(this, args))
    if (leading && !timer) {
      last()
      last = undefined
    }
    clearTimeout(timer)
    timer = setTimeout(() => {
      timer = undefined
      if (trailing && last) last()
    }, wait)
    return result
  }
  debounced.cancel = () => {
    clearTimeout(timer)
    timer = last = undefined
  }
  debounced.flush = () => {
    if (timer && last) last()
    debounced.cancel()
    return result
  }
  return debounced
}
const flow = (...functions) => (...args) => functions.flat().reduce((done, next, at) => (at ? next(done) : next(...args)), args[0])
let lastId = 0

const _ = value => chain(value, true)
const methods = {
  // collections
  map, forEach, each: forEach, filter, reject, find, findLast, findIndex, findLastIndex, reduce, reduceRight, groupBy, keyBy, countBy, partition,
  some, every, includes, orderBy, sortBy, size, invokeMap, sample, shuffle,
  sampleSize: (all, count = 1) => shuffle(all).slice(0, count),
  flatMap: (all, by) => map(all, by).flat(),
  forEachRight: (all, visit) => (forEach(entriesOf(all).reverse(), ([key, value]) => visit(value, key, all)), all),
  // arrays
  chunk: (list, count = 1) => (count < 1 ? [] : Array.from({ length: Math.ceil(size(list) / count) }, (_, at) => listOf(list).slice(at * count, (at + 1) * count))),
  compact: list => listOf(list).filter(Boolean),
  concat: (list, ...more) => [].concat(list, ...more),
  difference, differenceBy,
  drop: (list, count = 1) => listOf(list).slice(Math.max(0, count)),
  dropRight: (list, count = 1) => listOf(list).slice(0, count > 0 ? -count : undefined),
  take: (list, count = 1) => listOf(list).slice(0, Math.max(0, count)),
  takeRight: (list, count = 1) => (count > 0 ? listOf(list).slice(-count) : []),
  takeWhile, dropWhile,
  first: list => (isNil(list) ? undefined : list[0]),
  head: list => (isNil(list) ? undefined : list[0]),
  last: list => (isNil(list) ? undefined : list[list.length - 1]),
  initial: list => listOf(list).slice(0, -1),
  tail: list => listOf(list).slice(1),
  nth: (list, at = 0) => listOf(list).at(at),
  flatten: list => flat(list, 1), flattenDeep: list => flat(list, Infinity), flattenDepth: (list, depth = 1) => flat(list, depth),
  fromPairs: list => Object.fromEntries(listOf(list)),
  indexOf: (list, value, from = 0) => listOf(list).findIndex((other, at) => at >= from && (other === value || (other !== other && value !== value))),
  lastIndexOf: (list, value) => listOf(list).lastIndexOf(value),
  intersection: (list, ...others) => intersectionBy(list, ...others, identity), intersectionBy,
  join: (list, separator = ',') => listOf(list).map(text).join(separator),
  pull, pullAll: (list, values) => pull(list, ...values), remove,
  reverse: list => (isNil(list) ? list : list.reverse()),
  slice: (list, start, end) => listOf(list).slice(start, end),
  fill: (list, value, start, end) => list.fill(value, start, end),
  union: (...lists) => uniqBy(lists.flatMap(listOf)), unionBy: (...rest) => (([lists, key]) => uniqBy(lists.flatMap(listOf), key))(split(rest)),
  uniq: list => uniqBy(list), uniqBy, uniqWith,
  without: (list, ...values) => difference(list, values),
  xor: (...lists) => uniqBy(lists.flatMap((list, at) => difference(list, ...lists.filter((_, other) => other !== at)))),
  zip, unzip: lists => zip(...lists), zipObject: (names, values) => Object.fromEntries(listOf(names).map((name, at) => [name, (values || [])[at]])),
  sum: list => sumBy(list), sumBy, mean: list => sumBy(list) / size(list), meanBy: (list, by) => sumBy(list, by) / size(list),
  min: list => extreme(list, identity, (a, b) => a < b), max: list => extreme(list, identity, (a, b) => a > b),
  minBy: (list, by) => extreme(list, by, (a, b) => a < b), maxBy: (list, by) => extreme(list, by, (a, b) => a > b),
  sortedUniq: list => uniqBy(list),
  // objects
  get, set, unset, update, result: (object, path, otherwise) => { const value = get(object, path, otherwise); return isFunction(value) ? value.call(object) : value },
  has: (object, path) => walk(object, path, true), hasIn: (object, path) => walk(object, path, false), at: (object, ...paths) => paths.flat().map(path => get(object, path)),
  keys, keysIn, values: object => (isNil(object) ? [] : keys(object).map(key => object[key])), toPairs: object => entriesOf(object), entries: object => entriesOf(object),
  pick, pickBy, omit, omitBy, mapValues, mapKeys, invert: object => Object.fromEntries(keys(object).map(key => [object[key], key])),
  assign: Object.assign, extend: Object.assign, assignIn: Object.assign, merge: (target, ...sources) => mergeWith(target, ...sources, () => undefined), mergeWith, defaults, defaultsDeep,
  clone, cloneDeep, findKey: (object, by) => { const test = iteratee(by); return keys(object).find(key => test(object[key], key, object)) },
  forOwn: (object, visit) => (forEach(keys(object), key => visit(object[key], key, object)), object), forIn: (object, visit) => (forEach(keysIn(object), key => visit(object[key], key, object)), object),
  functions: object => keys(object).filter(key => isFunction(object[key])), invoke, transform, create: (prototype, members) => Object.assign(Object.create(prototype), members), toPath,
  // tests
  isArray, isArrayLike, isBoolean: value => value === true || value === false, isDate, isEmpty, isEqual, isError: value => value instanceof Error, isFinite: Number.isFinite, isFunction,
  isInteger: Number.isInteger, isMap: value => value instanceof Map, isMatch, isNaN: value => isNumber(value) && value != +value, isNil, isNull: value => value === null, isNumber, isObject,
  isObjectLike: value => value !== null && typeof value === 'object', isPlainObject, isRegExp: value => value instanceof RegExp, isSet: value => value instanceof Set, isString,
  isSymbol: value => typeof value === 'symbol', isUndefined: value => value === undefined, isBuffer: value => Buffer.isBuffer(value), eq: (a, b) => a === b || (a !== a && b !== b),
  gt: (a, b) => a > b, gte: (a, b) => a >= b, lt: (a, b) => a < b, lte: (a, b) => a <= b,
  // texts
  camelCase: value => wordsOf(value).map((word, at) => (at ? capitalize(word) : word.toLowerCase())).join(''), capitalize, deburr,
  endsWith: (value, end, at) => text(value).endsWith(end, at), startsWith: (value, start, at) => text(value).startsWith(start, at), escape, escapeRegExp,
  kebabCase: value => wordsOf(value).map(word => word.toLowerCase()).join('-'), snakeCase: value => wordsOf(value).map(word => word.toLowerCase()).join('_'),
  lowerCase: value => wordsOf(value).map(word => word.toLowerCase()).join(' '), upperCase: value => wordsOf(value).map(word => word.toUpperCase()).join(' '),
  startCase: value => wordsOf(value).map(upperFirst).join(' '), lowerFirst, upperFirst, pad, padStart: (value, length, fill) => text(value).padStart(length || 0, fill), padEnd: (value, length, fill) => text(value).padEnd(length || 0, fill),
  repeat: (value, count = 1) => text(value).repeat(Math.max(0, count)), replace: (value, pattern, by) => text(value).replace(pattern, by), split: (value, separator, limit) => text(value).split(separator, limit),
  template, toLower: value => text(value).toLowerCase(), toUpper: value => text(value).toUpperCase(), trim: trimmer(true, true), trimStart: trimmer(true, false), trimEnd: trimmer(false, true), truncate,
  unescape: value => text(value).replace(/&(?:amp|lt|gt|quot|#39);/g, mark => unmarks[mark]), words, parseInt: (value, base) => parseInt(value, base),
  // numbers
  add: (a, b) => a + b, subtract: (a, b) => a - b, multiply: (a, b) => a * b, divide: (a, b) => a / b, round: round('round'), floor: round('floor'), ceil: round('ceil'), clamp, random,
  inRange: (value, low, high) => (high === undefined ? value >= Math.min(0, low) && value < Math.max(0, low) : value >= Math.min(low, high) && value < Math.max(low, high)),
  toNumber, toFinite, toInteger: value => Math.trunc(toFinite(value)), toString: text, toArray: valuesOf, castArray: (...args) => (args.length ? (isArray(args[0]) ? args[0] : [args[0]]) : []),
  // functions and the rest
  identity, constant: value => () => value, noop: () => {}, property, propertyOf: object => path => get(object, path), matches, matchesProperty: (path, value) => iteratee([path, value]), iteratee,
  memoize, debounce, throttle: (original, wait) => debounce(original, wait, { leading: true }), once: original => { let done, value; return (...args) => (done ? value : ((done = true), (value = original(...args)))) },
  partial: (original, ...first) => (...rest) => original(...first, ...rest), curry: (original, arity = original.length) => { const take = (...args) => (args.length >= arity ? original(...args) : (...more) => take(...args, ...more)); return take },
  negate: original => (...args) => !original(...args), flow, flowRight: (...functions) => flow(...functions.flat().reverse()), ary: (original, count) => (...args) => original(...args.slice(0, count)), unary: original => value => original(value),
  delay: (original, wait, ...args) => setTimeout(original, wait, ...args), defer: (original, ...args) => setTimeout(original, 0, ...args), attempt: (original, ...args) => { try { return original(...args) } catch (error) { return error instanceof Error ? error : new Error(error) } },
  times: (count, by = identity) => Array.from({ length: Math.max(0, Math.trunc(toFinite(count))) }, (_, at) => by(at)), range: range(1), rangeRight: range(-1), uniqueId: (prefix = '') => `${prefix}${++lastId}`,
  now: () => Date.now(), tap: (value, visit) => (visit(value), value), thru: (value, change) => change(value), stubTrue: () => true, stubFalse: () => false, defaultTo: (value, otherwise) => (isNil(value) || value !== value ? otherwise : value), cond: pairs => (...args) => { for (const [test, then] of pairs) if (test(...args)) return then(...args) }
}

// ---- chains ----

const single = new Set(['first', 'head', 'last', 'nth', 'find', 'findLast', 'findIndex', 'findLastIndex', 'findKey', 'reduce', 'reduceRight', 'some', 'every', 'includes', 'size', 'sum', 'sumBy', 'mean', 'meanBy', 'min', 'max', 'minBy', 'maxBy', 'get', 'has', 'join', 'indexOf', 'isEmpty', 'isEqual', 'sample', 'camelCase', 'capitalize', 'kebabCase', 'snakeCase', 'startCase', 'trim', 'toLower', 'toUpper', 'upperFirst', 'lowerFirst', 'truncate', 'isArray', 'isNil', 'isString'])
let prototype
const chain = (value, implicit) => {
  if (!prototype) {
    prototype = { value() { return this.wrapped }, valueOf() { return this.wrapped }, toJSON() { return this.wrapped }, commit() { return this } }
    for (const name of Object.keys(methods)) {
      prototype[name] = function (...args) {
        const made = methods[name](this.wrapped, ...args)
        return this.implicit && single.has(name) ? made : chain(made, this.implicit)
      }
    }
  }
  return Object.assign(Object.create(prototype), { wrapped: value, implicit })
}

module.exports = Object.assign(_, methods, { chain: value => chain(value, false), VERSION: '4.17.21' })
_.default = _
