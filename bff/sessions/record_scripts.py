"""What is done to the record of a session in one step, by Redis itself. See `store`.

A record is 8 bytes of generation, 8 bytes of last use (milliseconds), and the sealed rest. Keys are
the record's and, where it is made or ended, its tombstone's; they share a slot.
"""

from __future__ import annotations

from bff.sessions.redis import Script

CREATE = Script("""
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return 1 end
return 0
""")

SAVE = Script("""
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
local used = redis.call('GETRANGE', KEYS[1], 8, 15)
redis.call('SET', KEYS[1], ARGV[2] .. used .. ARGV[3], 'KEEPTTL')
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
""")

# Numbers are compared as numbers: Lua compares strings by the server's locale.
TOUCH = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local used = redis.call('GETRANGE', KEYS[1], 8, 15)
if struct.unpack('>I8', used) >= struct.unpack('>I8', ARGV[1]) then return 1 end
redis.call('SETRANGE', KEYS[1], 8, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
""")

END = Script("""
local found = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[4])
return found
""")
