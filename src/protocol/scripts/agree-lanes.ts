import { decodeLanes } from '../placement.ts'
import { defineScript, text } from '../script.ts'

/**
 * Adds to the list of a queue's lanes, which every lane's Hash holds, and replies with all of it. A list only ever
 * grows, so that whoever knows different ones agrees in the end whatever the order, and no lane that may hold jobs is
 * forgotten while anybody lives who knows of it.
 */
export const agreeLanes = defineScript({
  name: 'agreeLanes',
  flags: ['allow-oom'],
  keys: ['lane'],
  args: ['lanes'],
  reply: reply => decodeLanes(text(reply)),
  lua: `
local stored = redis.call('HGET', laneKey, 'lanes') or ''
local seen, list = {}, {}
-- Anybody may have written the field: what is read of it is bounded.
for word in string.gmatch(string.sub(stored, 1, 1024) .. ',' .. lanes, '%d+') do
  local number = #word <= 3 and tonumber(word)
  if number and not seen[number] and #list < 64 then
    seen[number] = true
    list[#list + 1] = number
  end
end
table.sort(list)
local agreed = table.concat(list, ',')
if agreed ~= stored then redis.call('HSET', laneKey, 'lanes', agreed) end
return agreed
`,
})
