-- MessagePack, as Redis's `cmsgpack` (lua-cmsgpack 0.4.0) behaves. Returns the library, and the writers of single values,
-- with which the sandbox packs what crosses its border.

local byte, char, gsub, sub = string.byte, string.char, string.gsub, string.sub
local concat = table.concat
local floor, frexp, ldexp, huge = math.floor, math.frexp, math.ldexp, math.huge
local error, next, pcall, select, tonumber, tostring, type, unpack = error, next, pcall, select, tonumber, tostring, type, unpack
local getinfo = debug.getinfo
local running = coroutine.running

-- Raises an error at the place in the script that called the library; if pcall did, there is no place, and C knows no name.
local function fail(text)
  local level = 2
  local info = getinfo(level, "Slf")
  local is_lost = false -- a tail call has taken the frame of a function in between
  while info and (info.what == "C" or info.what == "tail" or info.source == "@library" or info.source == "@sandbox") do
    is_lost = is_lost or info.what == "tail"
    if info.func == pcall and not is_lost then error((gsub(text, "^(bad argument #%d+ to )'[^']*'", "%1'?'")), 0) end
    level = level + 1
    info = getinfo(level, "Slf")
  end
  if info and info.currentline > 0 then
    text = info.short_src .. ":" .. info.currentline .. ": " .. text
  elseif not running() then
    text = "\1" .. text -- a tail call has taken the script's frame: Python may know the line
  end
  error(text, 0)
end

local MAX_NESTING = 16 -- deeper tables are packed as nil

-- An unsigned number as `n` bytes, the highest first.
local function big_endian(value, n)
  local bytes = {}
  for i = n, 1, -1 do
    bytes[i] = value % 256
    value = floor(value / 256)
  end
  return char(unpack(bytes))
end

-- No number has a sign, too, which only its text shows.
local function is_negative(not_a_number)
  return byte(tostring(not_a_number)) == byte("-")
end
local NAN = is_negative(0 / 0) and -(0 / 0) or 0 / 0

-- IEEE 754 with an exponent of `exponent_bits` and a mantissa of `mantissa_bits`, the highest byte first.
local function ieee(value, exponent_bits, mantissa_bits)
  local bias = 2 ^ (exponent_bits - 1) - 1
  local sign = (value < 0 or (value == 0 and 1 / value < 0) or (value ~= value and is_negative(value))) and 1 or 0
  local exponent, fraction
  if value ~= value then
    exponent, fraction = 2 * bias + 1, 2 ^ (mantissa_bits - 1)
  elseif value == huge or value == -huge then
    exponent, fraction = 2 * bias + 1, 0
  elseif value == 0 then
    exponent, fraction = 0, 0
  else
    local mantissa, power = frexp(value < 0 and -value or value)
    exponent = power + bias - 1
    if exponent <= 0 then
      exponent, fraction = 0, ldexp(mantissa, power + bias - 1 + mantissa_bits)
    else
      fraction = (mantissa * 2 - 1) * 2 ^ mantissa_bits
    end
    if exponent > 2 * bias then
      exponent, fraction = 2 * bias + 1, 0
    end
  end
  local n = (1 + exponent_bits + mantissa_bits) / 8
  local head = sign * 2 ^ exponent_bits + exponent
  local low = floor(fraction + 0.5)
  if low - fraction == 0.5 and low % 2 == 1 then low = low - 1 end
  if n == 4 then
    return big_endian(head * 2 ^ mantissa_bits + low, 4)
  end
  local low32 = low % 2 ^ 32
  return big_endian(head * 2 ^ (mantissa_bits - 32) + (low - low32) / 2 ^ 32, 4) .. big_endian(low32, 4)
end

local function from_ieee(text, exponent_bits, mantissa_bits)
  local bias = 2 ^ (exponent_bits - 1) - 1
  local b1, b2, b3, b4, b5, b6, b7, b8 = byte(text, 1, -1)
  local high = ((b1 * 256 + b2) * 256 + b3) * 256 + b4
  local fraction, head
  if b8 then
    head = floor(high / 2 ^ (mantissa_bits - 32))
    fraction = (high % 2 ^ (mantissa_bits - 32)) * 2 ^ 32 + ((b5 * 256 + b6) * 256 + b7) * 256 + b8
  else
    head, fraction = floor(high / 2 ^ mantissa_bits), high % 2 ^ mantissa_bits
  end
  local sign, exponent = 1, head
  if head >= 2 ^ exponent_bits then
    sign, exponent = -1, head - 2 ^ exponent_bits
  end
  if exponent == 2 * bias + 1 then
    return fraction == 0 and sign * huge or sign < 0 and -NAN or NAN
  elseif exponent == 0 then
    return sign * ldexp(fraction, 1 - bias - mantissa_bits)
  end
  return sign * ldexp(1 + fraction / 2 ^ mantissa_bits, exponent - bias)
end

local function double(value)
  return ieee(value, 11, 52)
end

local function is_single(value)
  return from_ieee(ieee(value, 8, 23), 8, 23) == value
end

-- A signed number in 8 bytes; doubles hold 53 bits of it exactly.
local function int64(value)
  local low = value % 2 ^ 32
  local high = ((value - low) / 2 ^ 32) % 2 ^ 32
  return big_endian(high, 4) .. big_endian(low, 4)
end

local function pack_number(value)
  if value ~= floor(value) or value >= 2 ^ 63 or value < -2 ^ 63 then
    if not is_single(value) then
      return "\203" .. double(value)
    end
    return "\202" .. ieee(value, 8, 23)
  elseif value >= 0 then
    if value < 128 then return char(value) end
    if value < 256 then return "\204" .. char(value) end
    if value < 65536 then return "\205" .. big_endian(value, 2) end
    if value < 2 ^ 32 then return "\206" .. big_endian(value, 4) end
    return "\207" .. int64(value)
  end
  if value >= -32 then return char(256 + value) end
  if value >= -128 then return "\208" .. char(256 + value) end
  if value >= -32768 then return "\209" .. big_endian(65536 + value, 2) end
  if value >= -2 ^ 31 then return "\210" .. big_endian(2 ^ 32 + value, 4) end
  return "\211" .. int64(value)
end

local function pack_string(value)
  local n = #value
  if n < 32 then return char(160 + n) .. value end
  if n < 256 then return "\217" .. char(n) .. value end
  if n < 65536 then return "\218" .. big_endian(n, 2) .. value end
  return "\219" .. big_endian(n, 4) .. value
end

local function array_header(n)
  if n < 16 then return char(144 + n) end
  if n < 65536 then return "\220" .. big_endian(n, 2) end
  return "\221" .. big_endian(n, 4)
end

local function map_header(n)
  if n < 16 then return char(128 + n) end
  if n < 65536 then return "\222" .. big_endian(n, 2) end
  return "\223" .. big_endian(n, 4)
end

-- The length if the keys are exactly 1…n, else nil; and the number of pairs.
local function shape(value)
  local n, max, is_array = 0, 0, true
  for key in next, value do
    n = n + 1
    if type(key) ~= "number" or key <= 0 or key ~= floor(key) then
      is_array = false
    elseif key > max then
      max = key
    end
  end
  return is_array and max == n and n or nil, n
end

local function pack_value(out, value, nesting)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = pack_string(value)
  elseif kind == "number" then
    out[#out + 1] = pack_number(value)
  elseif kind == "boolean" then
    out[#out + 1] = value and "\195" or "\194"
  elseif kind == "table" and nesting < MAX_NESTING then
    local length, n_pairs = shape(value)
    if length then
      out[#out + 1] = array_header(length)
      for i = 1, length do
        pack_value(out, value[i], nesting + 1)
      end
    else
      out[#out + 1] = map_header(n_pairs)
      for key, item in next, value do
        pack_value(out, key, nesting + 1)
        pack_value(out, item, nesting + 1)
      end
    end
  else
    out[#out + 1] = "\192"
  end
end

local function pack(...)
  local n = select("#", ...)
  if n == 0 then
    fail("bad argument #0 to 'pack' (MessagePack pack needs input.)")
  end
  local out = {}
  for i = 1, n do
    pack_value(out, (select(i, ...)), 0)
  end
  return concat(out)
end

local function unsigned(text, at, n)
  if at + n - 1 > #text then fail("Missing bytes in input.") end
  local value = 0
  for i = at, at + n - 1 do
    value = value * 256 + byte(text, i)
  end
  return value, at + n
end

local signed
function signed(text, at, n)
  if n == 8 then -- word by word, so that small negative numbers stay exact and others are rounded only once
    if at + 7 > #text then fail("Missing bytes in input.") end
    local high, low = signed(text, at, 4), unsigned(text, at + 4, 4)
    return high * 2 ^ 32 + low, at + 8
  end
  local value, after = unsigned(text, at, n)
  return value >= 2 ^ (8 * n - 1) and value - 2 ^ (8 * n) or value, after
end

local function bytes_at(text, at, n)
  if at + n - 1 > #text then fail("Missing bytes in input.") end
  return sub(text, at, at + n - 1), at + n
end

local read

local function read_array(text, at, n)
  local items = {}
  for i = 1, n do
    items[i], at = read(text, at)
  end
  return items, at
end

local function read_map(text, at, n)
  local items = {}
  for _ = 1, n do
    local key, value
    key, at = read(text, at)
    value, at = read(text, at)
    if key == nil then error("table index is nil", 0) end
    if key ~= key then error("table index is NaN", 0) end
    items[key] = value
  end
  return items, at
end

local SIZE = { [0] = 1, 2, 4, 8 }

function read(text, at)
  local tag = byte(text, at)
  if not tag then fail("Missing bytes in input.") end
  at = at + 1
  if tag < 128 then return tag, at end
  if tag < 144 then return read_map(text, at, tag - 128) end
  if tag < 160 then return read_array(text, at, tag - 144) end
  if tag < 192 then return bytes_at(text, at, tag - 160) end
  if tag >= 224 then return tag - 256, at end
  if tag == 192 then return nil, at end
  if tag == 194 then return false, at end
  if tag == 195 then return true, at end
  local n
  if tag == 202 then
    n, at = bytes_at(text, at, 4)
    return from_ieee(n, 8, 23), at
  elseif tag == 203 then
    n, at = bytes_at(text, at, 8)
    return from_ieee(n, 11, 52), at
  elseif tag >= 204 and tag <= 206 then
    return unsigned(text, at, SIZE[tag - 204])
  elseif tag == 207 then
    return signed(text, at, 8) -- Redis
  elseif tag >= 208 and tag <= 211 then
    return signed(text, at, SIZE[tag - 208])
  elseif tag >= 217 and tag <= 219 then
    n, at = unsigned(text, at, SIZE[tag - 217])
    return bytes_at(text, at, n)
  elseif tag == 220 or tag == 221 then
    n, at = unsigned(text, at, tag == 220 and 2 or 4)
    return read_array(text, at, n)
  elseif tag == 222 or tag == 223 then
    n, at = unsigned(text, at, tag == 222 and 2 or 4)
    return read_map(text, at, n)
  end
  fail("Bad data format in input.")
end

-- Arguments as Lua's C functions take them: a number is a string, too, and the other way round. `n` of them were given.
local function text_argument(name, place, n, value)
  if type(value) == "number" then return tostring(value) end
  if type(value) == "string" then return value end
  fail("bad argument #" .. place .. " to '" .. name .. "' (string expected, got " .. (n < place and "no value" or type(value)) .. ")")
end

local function integer_argument(name, place, n, value)
  local number = tonumber(value)
  if number and not (number >= -2 ^ 63 and number < 2 ^ 63) then return -2 ^ 63 end -- as C converts it on x86
  if number then return number < 0 and -floor(-number) or floor(number) end
  fail("bad argument #" .. place .. " to '" .. name .. "' (number expected, got " .. (n < place and "no value" or type(value)) .. ")")
end

local function as_int(value)
  return (value + 2 ^ 31) % 2 ^ 32 - 2 ^ 31
end

-- Up to `limit` values from byte `offset` on, behind the offset of the next one. With neither (0): all values and no offset.
local function unpack_from(name, text, limit, offset, n_arguments)
  text = text_argument(name, 1, n_arguments, text)
  if offset < 0 or limit < 0 then
    fail("Invalid request to unpack with offset of " .. as_int(offset) .. " and limit of " .. #text .. ".")
  elseif offset > #text then
    fail("Start offset " .. as_int(offset) .. " greater than input length " .. #text .. ".")
  end
  local is_all = limit == 0 and offset == 0
  local values, n, at = {}, 0, offset + 1
  while at <= #text and (is_all or n < limit) do
    n = n + 1
    values[n], at = read(text, at)
  end
  if is_all then return unpack(values, 1, n) end
  return at > #text and -1 or at - 1, unpack(values, 1, n)
end

local library = {
  _NAME = "cmsgpack",
  _VERSION = "lua-cmsgpack 0.4.0",
  _COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo",
  _DESCRIPTION = "MessagePack C implementation for Lua",
  pack = pack,
  unpack = function(...)
    return unpack_from("unpack", (...), 0, 0, select("#", ...))
  end,
  unpack_one = function(...)
    local text, offset = ...
    local n = select("#", ...)
    offset = offset == nil and 0 or integer_argument("unpack_one", 2, n, offset)
    return unpack_from("unpack_one", text, 1, offset, n)
  end,
  unpack_limit = function(...)
    local text, limit, offset = ...
    local n = select("#", ...)
    limit = integer_argument("unpack_limit", 2, n, limit)
    offset = offset == nil and 0 or integer_argument("unpack_limit", 3, n, offset)
    return unpack_from("unpack_limit", text, limit, offset, n)
  end,
}
local codec = {
  fail = fail,
  text_argument = text_argument,
  integer_argument = integer_argument,
  as_int = as_int,
  nan = NAN,
  read = read,
  double = double,
  single = function(value) return ieee(value, 8, 23) end,
  from_ieee = from_ieee,
  pack_string = pack_string,
  array_header = array_header,
}
return library, codec
