/** Acquires as its argument says, prints the socket's path, and holds until its input ends; then ends without a word, as many programs do. */
import { acquireEmbeddedRedis, type EmbeddedRedisOptions } from '../../../src/embedded/embedded-redis.ts'

const options = JSON.parse(process.argv[2] ?? '') as EmbeddedRedisOptions
const redis = await acquireEmbeddedRedis(options)
console.log(redis.socketPath)
process.stdin.resume()
