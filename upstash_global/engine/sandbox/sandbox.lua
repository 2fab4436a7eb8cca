-- The world of a script: what it may name, how it calls commands, and how it ends.
--
-- Only strings, numbers and booleans cross the border to Python; short flat lists as several of them, whatever else has a
-- shape packed with MessagePack, so a script never holds an object of Python's. All scripts share one environment, whose tables
-- cannot be written to; what library functions may have put into them all the same is taken out behind each run.

local host, cjson, cmsgpack, codec, struct = ...

local pcall, xpcall, error, select, type, tostring, unpack, next, rawset, rawget, setmetatable =
  pcall, xpcall, error, select, type, tostring, unpack, next, rawset, rawget, setmetatable
local getmetatable, setfenv, loadstring, collectgarbage = getmetatable, setfenv, loadstring, collectgarbage
local byte, format, match, gsub = string.byte, string.format, string.match, string.gsub
local floor, frexp = math.floor, math.frexp
local concat = table.concat
local sethook, getinfo = debug.sethook, debug.getinfo
local create, resume = coroutine.create, coroutine.resume

local PLAIN, PACKED, FLAT = 0, 1, 3 -- what crosses the border, of a reply and of a result; 2 is an error
local MOST_FLAT = 200 -- items of a list that crosses it as several values
local STEP = 10000 -- instructions between two looks at the budget
local CALL_COST = 500 -- a command counts as that many instructions
local MAX_DEPTH = 500 -- of a reply
local MOST_UNPACKED = 7000 -- values that `unpack` is trusted with: Lua stops at 8000, which a script may use up itself

local run_env -- the environment of the present run
local real_of = {} -- its read-only tables, each with the one it shows
local spent, budget = 0, 0
local registered -- by the library that is being loaded: a list of { name, description or false, flags, first line, last line }
local killed -- the error with which the running script has to end
local resp = 2
local random_high, random_low

-- Limits -----------------------------------------------------------------------------------------------------------

local function watch()
  spent = spent + STEP
  killed = killed or host.pause()
  if killed or spent > budget then
    sethook(watch, "", 1) -- pcall catches this once, and then the next instruction fails
    if getinfo(2, "S").source == "@sandbox" then return end -- `execute` itself has to come to its end
    local reason = registered and "ERR FUNCTION LOAD timeout" or "ERR Script killed by user with SCRIPT KILL..."
    error({ err = killed or reason }, 0)
  end
end

-- Commands ---------------------------------------------------------------------------------------------------------

local function arguments(...)
  local n = select("#", ...)
  if n == 0 then return nil, 0, "ERR Please specify at least one argument for this redis lib call" end
  local words = { ... }
  for i = 1, n do
    local kind = type(words[i])
    if kind == "number" then
      words[i] = format("%.17g", words[i])
    elseif kind ~= "string" then
      return nil, 0, "ERR Lua redis lib command arguments must be strings or integers"
    end
  end
  return words, n
end

-- What Python answered to a command: its reply, or nil and its error.
local function received(kind, value, ...)
  if kind == PLAIN then return value end
  if kind == FLAT then return { value, ... } end
  if kind == PACKED then return (codec.read(value, 1)) end
  return nil, value
end

-- The reply of a command, or nil and its error.
local function run_command(...)
  local n = select("#", ...)
  spent = spent + CALL_COST
  if n <= 3 then -- most calls: a table of their words would take longer than they do
    local name, key, value = ...
    if type(name) == "string" and (n < 2 or type(key) == "string") and (n < 3 or type(value) == "string") then
      return received(host.call(resp, ...))
    end
  end
  local words, _, refusal = arguments(...)
  if not words then return nil, refusal end
  if n <= MOST_UNPACKED then return received(host.call(resp, unpack(words, 1, n))) end
  return received(host.call_long(resp, words))
end

-- An error's text with a code in front: `-CODE message` has one, a single word has not.
local function coded(text)
  text = gsub(gsub(text, "^%-", ""), "[\r\n]+$", "")
  return match(text, " ") and text or "ERR " .. text
end

local redis = {
  REDIS_VERSION = host.version,
  REDIS_VERSION_NUM = host.version_number,
  LOG_DEBUG = 0,
  LOG_VERBOSE = 1,
  LOG_NOTICE = 2,
  LOG_WARNING = 3,
  REPL_NONE = 0,
  REPL_AOF = 1,
  REPL_SLAVE = 2,
  REPL_REPLICA = 2,
  REPL_ALL = 3,
}

function redis.call(...)
  local reply, failure = run_command(...)
  if failure then error({ err = failure }, 0) end
  return reply
end

function redis.pcall(...)
  local reply, failure = run_command(...)
  if failure then return { err = failure, ignore_error_stats_update = true } end
  return reply
end

function redis.error_reply(...)
  if select("#", ...) ~= 1 or type((...)) ~= "string" then
    return { err = "ERR wrong number or type of arguments" }
  end
  return { err = coded((...)) }
end

function redis.status_reply(...)
  if select("#", ...) ~= 1 or type((...)) ~= "string" then
    return { err = "ERR wrong number or type of arguments" }
  end
  return { ok = (...) }
end

function redis.sha1hex(...)
  if select("#", ...) ~= 1 then error({ err = "ERR wrong number of arguments" }, 0) end
  local text = ...
  return host.sha1hex((type(text) == "string" or type(text) == "number") and tostring(text) or "")
end

function redis.log(...)
  if select("#", ...) < 2 then error({ err = "ERR redis.log() requires two arguments or more." }, 0) end
  local level = ...
  if type(level) ~= "number" then error({ err = "ERR First argument must be a number (log level)." }, 0) end
  if level < 0 or level > 3 then error({ err = "ERR Invalid debug level." }, 0) end
end

function redis.setresp(...)
  if select("#", ...) ~= 1 then error({ err = "ERR redis.setresp() requires one argument." }, 0) end
  local version = tonumber((...))
  if version ~= 2 and version ~= 3 then error({ err = "ERR RESP version must be 2 or 3." }, 0) end
  resp = version
end

function redis.acl_check_cmd(...)
  local words, n, refusal = arguments(...)
  if not words then error({ err = refusal }, 0) end
  local is_known, is_allowed = host.may_call(unpack(words, 1, n))
  if not is_known then error({ err = "ERR Invalid command passed to redis.acl_check_cmd()" }, 0) end
  return is_allowed
end

function redis.breakpoint() -- there is no debugger to stop in
  return false
end

function redis.debug() end

function redis.replicate_commands() -- effects are what is replicated, always
  return true
end

function redis.set_repl(...)
  if select("#", ...) ~= 1 then error({ err = "ERR redis.set_repl() requires two arguments." }, 0) end
  local flags = ...
  if type(flags) ~= "number" or flags < 0 or flags > 3 then
    error({ err = "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE." }, 0)
  end
  if flags ~= redis.REPL_ALL then -- a write that stayed on one node would make the regions differ
    error({ err = "ERR redis.set_repl() accepts only REPL_ALL here." }, 0)
  end
end

-- Standard library -------------------------------------------------------------------------------------------------

local function copy(source, ...)
  local taken = {}
  for i = 1, select("#", ...) do
    local name = select(i, ...)
    taken[name] = source[name]
  end
  return taken
end

local math = copy(math, "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor", "fmod", "frexp",
  "huge", "ldexp", "log", "log10", "max", "min", "mod", "modf", "pi", "pow", "rad", "sin", "sinh", "sqrt", "tan", "tanh")
local string = copy(string, "byte", "char", "find", "format", "gfind", "gmatch", "gsub", "len", "lower", "match", "rep",
  "reverse", "sub", "upper")
local table = copy(table, "concat", "foreach", "foreachi", "getn", "insert", "maxn", "remove", "setn", "sort")
local coroutine = copy(coroutine, "resume", "running", "status", "yield")
local os = copy(os, "clock") -- since Redis 7.4; what a script makes of it is logged, so that no node measures again

-- drand48, as Redis has it. A run that draws without having set a seed is given one by chance.
local function seed(value)
  value = floor(value) % 2 ^ 32
  random_high, random_low = floor(value / 2 ^ 8), value % 2 ^ 8 * 2 ^ 16 + 0x330E
end

local function draw()
  if not random_high then seed(host.chance()) end
  local product = random_low * 0xECE66D + 0xB
  random_high = (random_high * 0xECE66D + random_low * 0x5DE + floor(product / 2 ^ 24)) % 2 ^ 24
  random_low = product % 2 ^ 24
  return random_high * 2 ^ 7 + floor(random_low / 2 ^ 17)
end

function math.randomseed(value)
  seed(value)
end

function math.random(...)
  local n = select("#", ...)
  local r = draw() % (2 ^ 31 - 1) / (2 ^ 31 - 1)
  if n == 0 then return r end
  if n > 2 then error("wrong number of arguments", 2) end
  local low, high = ...
  if n == 1 then low, high = 1, low end
  low, high = floor(low), floor(high)
  if low > high then error("bad argument #" .. n .. " to 'random' (interval is empty)", 2) end
  return floor(r * (high - low + 1)) + low
end

function coroutine.create(body)
  local thread = create(body)
  sethook(thread, watch, "", STEP)
  return thread
end

local function resumed(is_fine, ...)
  if not is_fine then error((...), 0) end
  return ...
end

function coroutine.wrap(body)
  local thread = coroutine.create(body)
  return function(...)
    return resumed(resume(thread, ...))
  end
end

local ROUNDING = 2 ^ 52 + 2 ^ 51 -- added to a double of less than 2^51, it leaves the nearest integer in the mantissa

-- The lowest 32 bits of argument `n` of bit.`name`, rounded to the nearest integer and half-way ones to the even. Of greater
-- numbers what the mantissa then holds, as Redis has it.
local function bits(name, n, ...)
  local value = select(n, ...)
  local number = tonumber(value)
  if not number then
    local got = n > select("#", ...) and "no value" or type(value)
    codec.fail("bad argument #" .. n .. " to '" .. name .. "' (number expected, got " .. got .. ")")
  end
  local sum = number + ROUNDING
  if sum - sum ~= 0 then return 0 end -- infinite, or no number
  local mantissa = frexp(sum < 0 and -sum or sum)
  return mantissa * 2 ^ 53 % 2 ^ 32
end

local function signed(value)
  return value >= 2 ^ 31 and value - 2 ^ 32 or value
end

local bit = {}

local function folded(name, operation)
  bit[name] = function(...)
    local result = bits(name, 1, ...)
    for i = 2, select("#", ...) do
      result = operation(result, bits(name, i, ...))
    end
    return signed(result)
  end
end

folded("band", host.band)
folded("bor", host.bor)
folded("bxor", host.bxor)

local function shifted(name, operation)
  bit[name] = function(...)
    return operation(bits(name, 1, ...), bits(name, 2, ...) % 32)
  end
end

local function rotated(value, n)
  return signed(value * 2 ^ n % 2 ^ 32 + floor(value / 2 ^ (32 - n)))
end

shifted("lshift", function(value, n) return signed(value * 2 ^ n % 2 ^ 32) end)
shifted("rshift", function(value, n) return signed(floor(value / 2 ^ n)) end)
shifted("arshift", function(value, n) return floor(signed(value) / 2 ^ n) end)
shifted("rol", rotated)
shifted("ror", function(value, n) return rotated(value, (32 - n) % 32) end)

function bit.tobit(...) return signed(bits("tobit", 1, ...)) end
function bit.bnot(...) return signed(2 ^ 32 - 1 - bits("bnot", 1, ...)) end
function bit.bswap(...)
  local value = bits("bswap", 1, ...)
  return signed(value % 256 * 2 ^ 24 + floor(value / 256) % 256 * 2 ^ 16 + floor(value / 65536) % 256 * 256 + floor(value / 2 ^ 24))
end
function bit.tohex(...)
  local value = bits("tohex", 1, ...)
  local n = select("#", ...) > 1 and signed(bits("tohex", 2, ...)) or 8
  local text = format(n < 0 and "%08X" or "%08x", value)
  n = n < 0 and -n or n
  return n == 0 and "" or text:sub(-(n < 8 and n or 8))
end

-- The environment --------------------------------------------------------------------------------------------------

local READ_ONLY = "Attempt to modify a readonly table"

local builtins = {
  _VERSION = _VERSION, assert = assert, error = error, gcinfo = gcinfo, getmetatable = getmetatable, ipairs = ipairs,
  rawequal = rawequal, select = select, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack, xpcall = xpcall,
}

local function failed(problem)
  if type(problem) == "table" and type(problem.err) == "string" then return problem.err end
  return problem
end

local function protected(is_fine, ...)
  if is_fine then return true, ... end
  return false, failed((...))
end

function builtins.pcall(...)
  return protected(pcall(...))
end

local function bad_argument(n, name, text)
  codec.fail("bad argument #" .. n .. " to '" .. name .. "' (" .. text .. ")")
end

-- What the functions below demand of their first argument, told at the place in the script.
local function check_table(name, ...)
  if type((...)) ~= "table" then
    bad_argument(1, name, "table expected, got " .. (select("#", ...) == 0 and "no value" or type((...))))
  end
end

local function check_count(name, wanted, ...)
  local n = select("#", ...)
  if n < wanted then bad_argument(n + 1, name, "value expected") end
end

function builtins.rawset(...)
  local target, key, value = ...
  check_table("rawset", ...)
  check_count("rawset", 3, ...)
  if real_of[target] then error(READ_ONLY, 0) end
  return rawset(target, key, value)
end

function builtins.rawget(...)
  local target, key = ...
  check_table("rawget", ...)
  check_count("rawget", 2, ...)
  return rawget(real_of[target] or target, key)
end

function builtins.setmetatable(...)
  local target, metatable = ...
  check_table("setmetatable", ...)
  if select("#", ...) < 2 or metatable ~= nil and type(metatable) ~= "table" then
    bad_argument(2, "setmetatable", "nil or table expected")
  end
  if real_of[target] then error(READ_ONLY, 0) end
  return setmetatable(target, metatable)
end

function builtins.next(...)
  local target, key = ...
  if type(target) ~= "table" then check_table("next", ...) end
  return next(real_of[target] or target, key)
end

function builtins.pairs(...)
  local target = ...
  check_table("pairs", ...)
  if real_of[target] then return builtins.next, target, nil end
  return pairs(target)
end

function builtins.collectgarbage(what)
  if what == "count" then return collectgarbage("count") end
  if what == nil or what == "collect" then return collectgarbage("collect") end
  return 0
end

function builtins.loadstring(source, name)
  if type(source) ~= "string" then
    error("bad argument #1 to 'loadstring' (string expected, got " .. type(source) .. ")", 2)
  end
  if byte(source, 1) == 27 then return nil, "precompiled chunks are not loaded" end
  local chunk, problem = loadstring(source, name or source)
  if chunk then setfenv(chunk, run_env) end
  return chunk, problem
end

function builtins.load(reader, name)
  local pieces = {}
  while true do
    local piece = reader()
    if piece == nil or piece == "" then break end
    pieces[#pieces + 1] = piece
  end
  return builtins.loadstring(concat(pieces), name or "=(load)")
end

local libraries = {
  redis = redis, cjson = cjson, cmsgpack = cmsgpack, struct = struct, bit = bit,
  math = math, string = string, table = table, coroutine = coroutine, os = os,
}

local function refuse_write()
  error(READ_ONLY, 2)
end

local metatables = {}
for name, library in pairs(libraries) do
  metatables[name] = { __index = library, __newindex = refuse_write, __metatable = false }
end
getmetatable("").__metatable = false

local function nonexistent(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end

setmetatable(builtins, { __index = nonexistent })
local globals_metatable = { __index = builtins }

-- A new environment that shows `names` and the libraries; and its read-only tables, each with the one it shows. They are empty,
-- so that every write is refused; only table.insert and its like reach them, as long as the run lasts.
local function environment(names)
  local env = {}
  local globals = setmetatable(names, globals_metatable)
  globals._G = env
  local shown_of = { [env] = globals }
  for name, library in next, libraries do
    local shown = setmetatable({}, metatables[name])
    globals[name] = shown
    shown_of[shown] = library
  end
  return setmetatable(env, { __index = globals, __newindex = refuse_write, __metatable = false }), shown_of
end

-- A run ------------------------------------------------------------------------------------------------------------

-- A reply as MessagePack: numbers as doubles, which Python cuts; {ok=…} and its like as a map of that one key.
local MARKED = { "err", "ok", "double", "map", "set", "big_number", "verbatim_string" }
local write

local function write_pairs(out, value, depth, has_values)
  local items, n = {}, 0
  for key, item in next, value do
    write(items, key, depth)
    if has_values then write(items, item, depth) end
    n = n + (has_values and 2 or 1)
  end
  out[#out + 1] = codec.array_header(n)
  out[#out + 1] = concat(items)
end

local function write_table(out, value, depth)
  if depth > MAX_DEPTH then error({ err = "ERR reached lua stack limit", is_bare = true }, 0) end
  for i = 1, #MARKED do
    local mark = MARKED[i]
    local marked = rawget(value, mark) -- what a metatable would make up does not count
    local kind = type(marked)
    local is_text = kind == "string" and (mark == "err" or mark == "ok" or mark == "big_number")
    local is_table = kind == "table" and (mark == "map" or mark == "set"
      or mark == "verbatim_string" and type(marked.format) == "string" and type(marked.string) == "string")
    if is_text or is_table or (mark == "double" and kind == "number") then
      out[#out + 1] = "\129" .. codec.pack_string(mark)
      if mark == "map" or mark == "set" then
        write_pairs(out, marked, depth + 1, mark == "map")
      elseif mark == "verbatim_string" then
        write(out, { marked.format, marked.string }, depth + 1)
      elseif is_text then
        out[#out + 1] = codec.pack_string(marked)
      else
        write(out, marked, depth + 1)
      end
      return
    end
  end
  local items, n = {}, 0
  while true do
    local item = rawget(value, n + 1)
    if item == nil then break end
    n = n + 1
    write(items, item, depth + 1)
  end
  out[#out + 1] = codec.array_header(n)
  out[#out + 1] = concat(items)
end

function write(out, value, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = codec.pack_string(value)
  elseif kind == "number" then
    out[#out + 1] = "\203" .. codec.double(value)
  elseif kind == "boolean" then
    out[#out + 1] = value and "\195" or "\194"
  elseif kind == "table" then
    write_table(out, value, depth)
  else
    out[#out + 1] = "\192"
  end
end

-- How many items a table has that is a short list of texts and numbers and nothing else, or nil.
local function flat_length(value)
  local n = #value
  if n > MOST_FLAT then return nil end
  for i = 1, n do
    local kind = type(rawget(value, i))
    if kind ~= "string" and kind ~= "number" then return nil end
  end
  if next(value, n > 0 and n or nil) ~= nil then return nil end
  return n
end

-- An error with the place of the script that it came from; without one when a tail call has taken the script's frame.
local function located(problem)
  if type(problem) == "table" and problem.is_bare then return { text = problem.err, place = "" } end
  local level = 2
  local info = getinfo(level, "Sl")
  while info and (info.what == "C" or info.what == "tail" or info.source == "@sandbox" or info.source == "@library") do
    level = level + 1
    info = getinfo(level, "Sl")
  end
  local text
  if type(problem) == "table" then
    text = type(problem.err) == "string" and problem.err or "ERR unknown error"
  else
    text = "ERR " .. tostring(problem)
  end
  local is_known = info and info.currentline > 0
  return { text = text, place = is_known and gsub(info.source, "^@", "") .. ":" .. info.currentline or nil }
end

local chunks = {}
local names = {} -- KEYS and ARGV
local script_env, script_real_of = environment(names)

-- Nil when the script compiles, else what is wrong with it.
local function compile(sha, source)
  local chunk, problem = loadstring(source, "@user_script")
  if not chunk then return problem end
  chunks[sha] = setfenv(chunk, script_env)
end

-- Runs `body`: true, RESP version, and what it returned as PLAIN and a value, FLAT and several, or PACKED; or false, the error's
-- text and its place or nil.
local function execute(body, limit)
  spent, budget, resp, killed = 0, limit, 2, nil
  codec.begin_run()
  random_high = nil
  local returned = function()
    local value = body()
    local kind = type(value)
    if kind == "table" then
      local n = flat_length(value)
      if n then return FLAT, value, n end
    elseif kind == "string" or kind == "number" or kind == "boolean" or kind == "nil" then
      return PLAIN, value
    end
    local out = {}
    write(out, value, 0)
    return PACKED, concat(out)
  end
  sethook(watch, "", STEP)
  local is_fine, result, value, n = xpcall(returned, located)
  sethook()
  names.KEYS, names.ARGV = nil, nil -- they may be large
  for shown in next, real_of do
    for key in next, shown do rawset(shown, key, nil) end
  end
  if is_fine then
    if result == FLAT then return true, resp, FLAT, unpack(value, 1, n) end
    return true, resp, result, value
  end
  if type(result) ~= "table" then return false, "ERR " .. tostring(result), nil end -- memory, or an error in `located`
  return false, result.text, result.place and "@" .. result.place
end

-- KEYS and ARGV of a run: packed in one text, or the numbers of both and then their items.
local function words_of(first, n, ...)
  if type(first) == "string" then
    local words = codec.read(first, 1)
    return words[1], words[2]
  end
  if first == 0 then return {}, { ... } end
  if first == n then return { ... }, {} end
  local keys, arguments = { unpack({ ... }, 1, first) }, { select(first + 1, ...) }
  return keys, arguments
end

local function run(sha, limit, ...)
  names.KEYS, names.ARGV = words_of(...)
  run_env, real_of = script_env, script_real_of
  return execute(chunks[sha], limit)
end

local function flush()
  chunks = {}
end

-- Functions --------------------------------------------------------------------------------------------------------

-- A library's chunk runs once, in a world that has nothing but `redis`, and that with little more than register_function.
-- Its functions, which keep that environment, find the whole world there when they are called.

local loaded = {} -- libraries by the SHA-1 of their code: env, real_of, and callbacks by name
local callbacks -- of the library that is being loaded

local FLAGS = {
  ["no-writes"] = true, ["allow-oom"] = true, ["allow-stale"] = true, ["no-cluster"] = true,
  ["allow-cross-slot-keys"] = true, ["allow-key-locking"] = true,
}

local function refuse(text)
  error({ err = "ERR " .. text }, 0)
end

local function text_of(value, refusal)
  if type(value) ~= "string" and type(value) ~= "number" then refuse(refusal) end
  return tostring(value)
end

local function flags_of(value)
  if type(value) ~= "table" then
    refuse("flags argument to redis.register_function must be a table representing function flags")
  end
  local flags = {}
  for i = 1, #value do
    if not FLAGS[value[i]] then refuse("unknown flag given") end
    flags[i] = value[i]
  end
  return flags
end

-- What the one table that register_function was given says: name, callback, description, flags.
local function named_arguments(named)
  if type(named) ~= "table" then
    refuse("calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).")
  end
  local name, callback, description, flags
  for key, value in next, named do
    if type(key) ~= "string" and type(key) ~= "number" then
      refuse("named argument key given to redis.register_function is not a string")
    elseif key == "function_name" then
      name = text_of(value, "function_name argument given to redis.register_function must be a string")
    elseif key == "description" then
      description = text_of(value, "description argument given to redis.register_function must be a string")
    elseif key == "callback" then
      if type(value) ~= "function" then
        refuse("callback argument given to redis.register_function must be a function")
      end
      callback = value
    elseif key == "flags" then
      flags = flags_of(value)
    else
      refuse("unknown argument given to redis.register_function")
    end
  end
  if not name then refuse("redis.register_function must get a function name argument") end
  if not callback then refuse("redis.register_function must get a callback argument") end
  return name, callback, description, flags
end

local function register_function(...)
  local n = select("#", ...)
  if not registered then refuse("redis.register_function can only be called on FUNCTION LOAD command") end
  if n < 1 or n > 2 then refuse("wrong number of arguments to redis.register_function") end
  local name, callback, description, flags
  if n == 1 then
    name, callback, description, flags = named_arguments((...))
  else
    name, callback = ...
    name = text_of(name, "first argument to redis.register_function must be a string")
    if type(callback) ~= "function" then refuse("second argument to redis.register_function must be a function") end
  end
  if not match(name, "^[%w_]+$") then
    refuse("Library names can only contain letters, numbers, or underscores(_) and must be at least one character long")
  end
  if callbacks[name] then refuse("Function already exists in the library") end
  local info = getinfo(callback, "S")
  callbacks[name] = callback
  registered[#registered + 1] = { name, description or false, flags or {}, info.linedefined, info.lastlinedefined }
end

local loading_redis = setmetatable(
  copy(redis, "log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION", "REDIS_VERSION_NUM"),
  { __index = nonexistent }
)
loading_redis.register_function = register_function
local loading_metatable = { __index = loading_redis, __newindex = refuse_write, __metatable = false }

-- Loads a library: true, nil and a packed list of what it registered; or false and what is wrong with it.
local function load_library(sha, limit, source)
  local chunk, problem = loadstring(source, "@user_function")
  if not chunk then return false, "Error compiling function: " .. problem end
  local full, shown_of = environment({})
  local library = { env = {}, real_of = shown_of, callbacks = {} }
  local shown = setmetatable({}, loading_metatable)
  local loading = setmetatable({ redis = shown }, { __index = nonexistent })
  local metatable = { __index = loading, __newindex = refuse_write, __metatable = false }
  run_env, real_of = setmetatable(library.env, metatable), { [library.env] = loading, [shown] = loading_redis }
  setfenv(chunk, library.env)
  registered, callbacks = {}, library.callbacks
  local is_fine, text_or_resp, _, result = execute(function()
    chunk()
    return registered
  end, limit)
  registered, callbacks = nil, nil
  if not is_fine then return false, "Error registering functions: " .. text_or_resp end
  local globals = shown_of[full]
  globals._G = library.env
  shown_of[library.env] = globals
  metatable.__index = globals
  loaded[sha] = library
  return true, nil, result or codec.array_header(0)
end

local function call_function(sha, name, limit, ...)
  local library = loaded[sha]
  local callback = library.callbacks[name]
  local keys, arguments = words_of(...)
  run_env, real_of = library.env, library.real_of
  return execute(function()
    local result = callback(keys, arguments)
    return result
  end, limit)
end

local function forget_library(sha)
  loaded[sha] = nil
end

return compile, run, flush, load_library, call_function, forget_library
