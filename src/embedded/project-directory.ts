import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

/** The nearest folder with a `package.json`, from `from` upwards; `from` itself where there is none. `@default` the working directory. */
export function projectDirectory(from: string = process.cwd()): string {
  const start = resolve(from)
  let folder = start
  for (;;) {
    if (existsSync(join(folder, 'package.json'))) return folder
    const parent = dirname(folder)
    if (parent === folder) return start
    folder = parent
  }
}
