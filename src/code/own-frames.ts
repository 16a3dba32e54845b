import { fileURLToPath } from 'node:url'

/** Where frames come from that no user wrote: this package, the loader that it runs scripts with, and Node's inside. */
const insides = [
  ...['src', 'dist'].map(folder => fileURLToPath(new URL(`../../${folder}/`, import.meta.url))),
  '/node_modules/tsx/',
  'node:internal/',
]

/** A stack without the lines that tell a user nothing. What is left are the user's own lines, and those of other packages. */
export function userFrames(stack: string): string {
  return stack
    .split('\n')
    .filter(line => !/^\s+at /.test(line) || !insides.some(inside => line.includes(inside)))
    .join('\n')
}
