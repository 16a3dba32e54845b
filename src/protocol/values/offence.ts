import { MillraceError, UnencodableValueError } from '../../errors.ts'

const longestPath = 300
const longestKey = 40

/** Thrown at the offending place; each container on the way out puts its step in front of the path. */
export class Offence extends Error {
  readonly what: string
  readonly cure: string
  readonly #steps: string[] = []

  constructor(what: string, cure: string, options?: { cause: unknown }) {
    super(what, options)
    this.what = what
    this.cure = cure
  }

  within(step: string): this {
    this.#steps.push(step)
    return this
  }

  /** The place as an expression. The middle of a very long path is left out: its ends tell where to look. */
  get path(): string {
    const path = `$${this.#steps.reverse().join('')}`
    return path.length <= longestPath ? path : `${path.slice(0, 200)} … ${path.slice(-longestPath + 200)}`
  }
}

/** What a container throws when writing the child at `step` threw `error`. Foreign errors come from getters and proxies. */
export function within(error: unknown, step: string): Error {
  if (error instanceof Offence) return error.within(step)
  if (error instanceof MillraceError) return error
  return unreadable(error).within(step)
}

/** The error that the caller of the codec sees. */
export function publicError(error: unknown): Error {
  if (error instanceof MillraceError) return error
  const offence = error instanceof Offence ? error : unreadable(error)
  const { path, what, cure, cause } = offence
  return new UnencodableValueError(`${path} ${what}; ${cure}.`, { path, cause })
}

function unreadable(cause: unknown): Offence {
  return new Offence('threw an error when it was read', 'replace the getter or proxy there by the plain value', {
    cause,
  })
}

export function propertyStep(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) && key.length <= longestKey ? `.${key}` : `[${quoted(key)}]`
}

/** The step to a Map's value: by its key where the key has a short form, else by its position. */
export function mapStep(key: unknown, position: number): string {
  if (typeof key === 'string') return `.get(${quoted(key)})`
  if (typeof key === 'number' || typeof key === 'boolean' || key === undefined || key === null) return `.get(${key})`
  return `.values(${position})`
}

function quoted(key: string): string {
  return JSON.stringify(key.length <= longestKey ? key : `${key.slice(0, longestKey)}…`)
}

export function isFunction(): Offence {
  return new Offence(
    'is a function, which cannot travel to another process',
    'leave it out, or send the name of what the task should call',
  )
}

export function isSymbol(): Offence {
  return new Offence(
    'is a symbol, which cannot travel to another process',
    'leave it out, or send a string in its place',
  )
}

export function isSymbolKey(key: symbol | undefined): Offence {
  const offence = new Offence(
    'has a symbol for its key, which cannot travel to another process',
    'leave it out, or use a string as the key',
  )
  return offence.within(`[${String(key).slice(0, longestKey)}]`)
}

export function isInstance(prototype: object): Offence {
  const name = className(prototype)
  const what = `is an instance of ${name}, which cannot travel to another process`
  if (name === 'Promise') return new Offence(what, 'await it first')
  return new Offence(what, 'send a plain object with the fields that are needed there')
}

function className(prototype: object): string {
  const constructor = Object.hasOwn(prototype, 'constructor') ? prototype.constructor : undefined
  return typeof constructor === 'function' && constructor.name !== ''
    ? constructor.name.slice(0, longestKey)
    : 'a class'
}
