-- Binary records, as Redis's `struct` (Roberto Ierusalimschy's, 0.2) on a 64-bit little-endian machine behaves.

local codec = ...
local fail, text_argument, integer_argument = codec.fail, codec.text_argument, codec.integer_argument
local byte, char, find, match, rep, reverse, sub = string.byte, string.char, string.find, string.match, string.rep, string.reverse, string.sub
local concat, floor = table.concat, math.floor
local select, tonumber, tostring, type, unpack = select, tonumber, tostring, type, unpack

local NATIVE_ALIGNMENT = 8
local MAX_SIZE = 512 * 1024 * 1024
local SIZES = { b = 1, B = 1, h = 2, H = 2, l = 8, L = 8, T = 8, f = 4, d = 8, x = 1 }

-- A step over the format: option letter, its size, the place behind it.
local function option_at(name, fmt, at)
  local letter = sub(fmt, at, at)
  at = at + 1
  if SIZES[letter] then return letter, SIZES[letter], at end
  local digits = (letter == "i" or letter == "I" or letter == "c" or letter == "!") and match(fmt, "^%d+", at) or nil
  local n = tonumber(digits)
  at = at + (digits and #digits or 0)
  if n and n > MAX_SIZE then fail("integral size overflow") end
  if letter == "i" or letter == "I" then
    n = n or 4
    if n > 32 then fail("integral size " .. n .. " is larger than limit of 32") end
    return letter, n, at
  elseif letter == "c" then
    return letter, n or 1, at
  elseif letter == "!" then
    n = n or NATIVE_ALIGNMENT
    if n == 0 or n > 2 ^ 31 or math.frexp(n) ~= 0.5 then
      fail("alignment " .. n .. " is not a power of 2")
    end
    return letter, n, at
  elseif letter == "s" or letter == " " or letter == "<" or letter == ">" then
    return letter, 0, at
  end
  if name == "size" and find(letter, "%w") then return " ", 0, at end -- Redis: it takes nothing
  fail("bad argument #1 to '" .. name .. "' (invalid format option '" .. letter .. "')")
end

local function band(a, b)
  local result, unit = 0, 1
  while b > 0 do
    if a % 2 == 1 and b % 2 == 1 then result = result + unit end
    a, b, unit = floor(a / 2), floor(b / 2), unit * 2
  end
  return result
end

-- Calls visit(letter, size, is_little, padding) for each option; `place` says where the record has come to.
local function walk(name, fmt, place, visit)
  local is_little, alignment = true, 1
  local at = 1
  while at <= #fmt do
    local letter, size
    letter, size, at = option_at(name, fmt, at)
    if letter == "<" then
      is_little = true
    elseif letter == ">" then
      is_little = false
    elseif letter == "!" then
      alignment = size
    elseif letter ~= " " then
      local padding = 0
      if letter ~= "c" and letter ~= "s" and letter ~= "x" and size > 1 then
        local unit = size < alignment and size or alignment
        padding = band(unit - band(place(), unit - 1), unit - 1) -- Redis: also where that is no power of 2
      end
      visit(letter, size, is_little, padding)
    end
  end
end

local function integer_bytes(value, size)
  if value ~= value or value < -2 ^ 63 then -- as C converts it on x86
    value = -2 ^ 63
  elseif value >= 2 ^ 64 then
    value = 0
  end
  value = value < 0 and -floor(-value) or floor(value)
  local bytes = {}
  for i = 1, size do
    local low = i <= 8 and value % 256 or 0
    bytes[i] = char(low)
    value = (value - low) / 256
  end
  return concat(bytes)
end

local function pack(...)
  local values, n_values, used = { select(2, ...) }, select("#", ...) - 1, 0
  local fmt = text_argument("pack", 1, n_values + 1, (...))
  local out, length = {}, 0
  local function add(text)
    out[#out + 1] = text
    length = length + #text
  end
  local function argument(kind)
    used = used + 1
    local value = values[used]
    if kind == "number" then value = tonumber(value) elseif type(value) == "number" then value = tostring(value) end
    if type(value) ~= kind then
      local got = used > n_values + 1 and "no value" or type(values[used]) -- a nil stands behind the last one
      fail("bad argument #" .. used + 1 .. " to 'pack' (" .. kind .. " expected, got " .. got .. ")")
    end
    return value
  end
  walk("pack", fmt, function() return length end, function(letter, size, is_little, padding)
    add(rep("\0", padding))
    if letter == "x" then
      add("\0")
    elseif letter == "s" then
      add(argument("string") .. "\0")
    elseif letter == "c" then
      local text = argument("string")
      if size == 0 then size = #text end
      if #text < size then fail("bad argument #" .. used + 2 .. " to 'pack' (string too short)") end
      add(sub(text, 1, size))
    elseif letter == "f" or letter == "d" then
      local text = (letter == "f" and codec.single or codec.double)(argument("number"))
      add(is_little and reverse(text) or text)
    else
      local text = integer_bytes(argument("number"), size)
      add(is_little and text or reverse(text))
    end
  end)
  return concat(out)
end

local function integer_from(text, is_little, is_signed)
  local high, low = 0, 0 -- of the last four bytes: put together at the end, so that the number is rounded only once
  if is_little then text = reverse(text) end
  text = sub(text, -8) -- of a longer one, as Redis has it
  local negative = is_signed and byte(text, 1) >= 128
  for i = 1, #text do
    local b = byte(text, i)
    local digit = negative and b - 255 or b -- a negative one is counted down from -1
    if i <= #text - 4 then high = high * 256 + digit else low = low * 256 + digit end
  end
  return high * 2 ^ 32 + (negative and low - 1 or low)
end

local function unpack_record(...)
  local fmt, text, from = ...
  local n_arguments = select("#", ...)
  fmt = text_argument("unpack", 1, n_arguments, fmt)
  text = text_argument("unpack", 2, n_arguments, text)
  from = (from == nil and 1 or integer_argument("unpack", 3, n_arguments, from)) - 1
  if from == -1 then fail("bad argument #3 to 'unpack' (offset must be 1 or greater)") end
  if from < 0 then fail("bad argument #2 to 'unpack' (data string too short)") end -- Redis: a size_t, far behind the end
  local at, results, n = from, {}, 0
  local function take(size)
    if size > #text - at then fail("bad argument #2 to 'unpack' (data string too short)") end
    at = at + size
    return sub(text, at - size + 1, at)
  end
  local function give(value)
    n = n + 1
    results[n] = value
  end
  walk("unpack", fmt, function() return at end, function(letter, size, is_little, padding)
    take(padding)
    if letter == "x" then
      take(1)
    elseif letter == "s" then
      local stop = find(text, "\0", at + 1, true)
      if not stop then fail("unfinished string in data") end
      give(sub(text, at + 1, stop - 1))
      at = stop
    elseif letter == "c" then
      if size == 0 then
        if n == 0 or type(results[n]) ~= "number" then fail("format 'c0' needs a previous size") end
        size = results[n]
        n = n - 1
        size = size <= -1 and -1 or size > -1 and floor(size < 0 and 0 or size) or -1
        if size < 0 then fail("bad argument #2 to 'unpack' (data string too short)") end
      end
      give(take(size))
    elseif letter == "f" or letter == "d" then
      local data = take(size)
      if is_little then data = reverse(data) end
      give(codec.from_ieee(data, letter == "f" and 8 or 11, letter == "f" and 23 or 52))
    else
      give(integer_from(take(size), is_little, letter == "b" or letter == "h" or letter == "l" or letter == "i"))
    end
  end)
  results[n + 1] = at + 1
  return unpack(results, 1, n + 1)
end

local function size_of(...)
  local fmt = text_argument("size", 1, select("#", ...), (...))
  local total = 0
  walk("size", fmt, function() return total end, function(letter, size, _, padding)
    if letter == "s" then fail("bad argument #1 to 'size' (option 's' has no fixed size)") end
    if letter == "c" and size == 0 then fail("bad argument #1 to 'size' (option 'c0' has no fixed size)") end
    total = total + padding + size
  end)
  return total
end

return { pack = pack, unpack = unpack_record, size = size_of }
