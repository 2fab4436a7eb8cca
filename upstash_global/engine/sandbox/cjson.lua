-- JSON, as Redis's `cjson` (lua-cjson 2.1.0) behaves: its number format, sparse arrays, limits, settings and error texts.
-- Settings last for one run of a script; in Redis they stay.

local codec = ...
local fail = codec.fail
local byte, char, find, format, gsub, match, sub = string.byte, string.char, string.find, string.format, string.gsub, string.match, string.sub
local concat = table.concat
local floor, huge = math.floor, math.huge
local getmetatable, next, select, tonumber, tostring, type = getmetatable, next, select, tonumber, tostring, type

local null = newproxy(true)
local MAX_INTEGER = 2 ^ 31 - 1

getmetatable(null).__tostring = function() return "userdata: (nil)" end -- Redis: a null pointer
getmetatable(null).__metatable = false

local function defaults(settings)
  settings.sparse_convert = 0 -- of what is too sparse for an array: an object, or an error
  settings.sparse_ratio, settings.sparse_safe = 2, 10 -- an array of more than 10 places must be at least half full
  settings.encode_depth, settings.decode_depth = 1000, 1000
  settings.precision = 14
  settings.keep_buffer = 1
  settings.encode_invalid, settings.decode_invalid = 0, 1 -- numbers that JSON does not have: 0 an error, 1 as they are, 2 null
  return settings
end

local config -- the settings of the instance that is at work

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
for code = 0, 31 do
  local c = char(code)
  ESCAPES[c] = ESCAPES[c] or format("\\u%04x", code)
end
ESCAPES["\127"] = "\\u007f"

local function quoted(text)
  if not find(text, '[%c"\\/\127]') then return '"' .. text .. '"' end
  return '"' .. gsub(text, '[%c"\\/\127]', ESCAPES) .. '"'
end

local FORMATS = {}
for precision = 1, 14 do
  FORMATS[precision] = "%." .. precision .. "g"
end

local function number_text(value)
  if value ~= value or value == huge or value == -huge then
    if config.encode_invalid == 0 then fail("Cannot serialise number: must not be NaN or Inf") end
    if config.encode_invalid == 2 then return "null" end
    return value ~= value and "nan" or value > 0 and "inf" or "-inf"
  end
  return format(FORMATS[config.precision], value)
end

-- The length of an array, or -1 for an object.
local function array_length(value)
  local n, last = 0, 0
  for key in next, value do
    if type(key) ~= "number" or key <= 0 or key ~= floor(key) then return -1 end
    n = n + 1
    if key > last then last = key <= MAX_INTEGER and key or -2 ^ 31 end -- Redis: an int that overflows
  end
  if config.sparse_ratio > 0 and last > n * config.sparse_ratio and last > config.sparse_safe then
    if config.sparse_convert == 0 then fail("Cannot serialise table: excessively sparse array") end
    return -1
  end
  return last
end

local function encode_value(out, value, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = quoted(value)
  elseif kind == "number" then
    out[#out + 1] = number_text(value)
  elseif kind == "boolean" then
    out[#out + 1] = tostring(value)
  elseif kind == "nil" or value == null then
    out[#out + 1] = "null"
  elseif kind == "table" then
    depth = depth + 1
    if depth > config.encode_depth then fail("Cannot serialise, excessive nesting (" .. depth .. ")") end
    local length = array_length(value)
    local separator = ""
    if length > 0 then
      out[#out + 1] = "["
      for i = 1, length do
        out[#out + 1] = separator
        encode_value(out, value[i], depth)
        separator = ","
      end
      out[#out + 1] = "]"
      return
    end
    out[#out + 1] = "{"
    for key, item in next, value do
      out[#out + 1] = separator
      if type(key) == "number" then
        out[#out + 1] = '"' .. number_text(key) .. '":'
      elseif type(key) == "string" then
        out[#out + 1] = quoted(key) .. ":"
      else
        fail("Cannot serialise " .. type(key) .. ": table key must be a number or string")
      end
      encode_value(out, item, depth)
      separator = ","
    end
    out[#out + 1] = "}"
  else
    fail("Cannot serialise " .. kind .. ": type not supported")
  end
end

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64) end
  return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
end

local UNESCAPED = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function unexpected(wanted, found, at)
  fail("Expected " .. wanted .. " but found " .. found .. " at character " .. at)
end

-- The string whose opening quote is at `at`, and the place behind its closing one; nil and why if it is malformed.
local function string_at(text, at)
  local plain, behind = match(text, '^([^%z"\\]*)"()', at + 1)
  if plain then return plain, behind end
  local parts, from = {}, at + 1
  while true do
    local stop = find(text, '[%z"\\]', from)
    if not stop then return nil, "unexpected end of string", #text + 1 end
    local c = sub(text, stop, stop)
    if c == '"' then
      parts[#parts + 1] = sub(text, from, stop - 1)
      return concat(parts), stop + 1
    elseif c ~= "\\" then
      return nil, "unexpected end of string", stop
    end
    parts[#parts + 1] = sub(text, from, stop - 1)
    local escape = sub(text, stop + 1, stop + 1)
    if UNESCAPED[escape] then
      parts[#parts + 1] = UNESCAPED[escape]
      from = stop + 2
    elseif escape == "u" then
      local digits = match(text, "^%x%x%x%x", stop + 2)
      if not digits then return nil, "invalid unicode escape code", stop end
      local code = tonumber(digits, 16)
      from = stop + 6
      if code >= 0xD800 and code < 0xE000 then
        local low = code < 0xDC00 and match(text, "^\\u(%x%x%x%x)", from)
        low = low and tonumber(low, 16)
        if not low or low < 0xDC00 or low > 0xDFFF then return nil, "invalid unicode escape code", stop end
        code = 0x10000 + (code - 0xD800) * 1024 + low - 0xDC00
        from = from + 6
      end
      parts[#parts + 1] = utf8(code)
    else
      return nil, "invalid escape code", stop
    end
  end
end

local PUNCTUATION = {
  [byte("{")] = "T_OBJ_BEGIN", [byte("}")] = "T_OBJ_END", [byte("[")] = "T_ARR_BEGIN", [byte("]")] = "T_ARR_END",
  [byte(",")] = "T_COMMA", [byte(":")] = "T_COLON",
}
local WORDS = {
  [byte("t")] = { "true", "T_BOOLEAN", true }, [byte("f")] = { "false", "T_BOOLEAN", false }, [byte("n")] = { "null", "T_NULL", null },
}
local QUOTE = byte('"')
local IS_BLANK = { [9] = true, [10] = true, [13] = true, [32] = true }

-- The number at `at` and the place behind it, as C's strtod reads it; nil if there is none.
local function number_at(text, at)
  local word = match(text, "^[+-]?%d+%.?%d*", at) or match(text, "^[+-]?%.%d+", at)
  local exponent = "^[eE][+-]?%d+"
  if word and find(text, "^[+-]?0[xX]%.?%x", at) then
    word = match(text, "^[+-]?0[xX]%x*%.?%x*", at)
    exponent = "^[pP][+-]?%d+"
  end
  if word then
    word = word .. (match(text, exponent, at + #word) or "")
    return tonumber(word), at + #word
  end
  local sign, name = match(text, "^([+-]?)(%a%a%a)", at)
  local after = at + #(sign or "") + 3
  name = name and name:lower()
  if name == "inf" then
    if sub(text, after, after + 4):lower() == "inity" then after = after + 5 end
    return sign == "-" and -huge or huge, after
  elseif name == "nan" then
    return sign == "-" and -codec.nan or codec.nan, after + #(match(text, "^%([%w_]*%)", after) or "")
  end
end

-- Whether the number at `at` is one that JSON does not have: inf, nan, hexadecimal, with a plus or with leading zeros.
local function is_invalid_number(text, at)
  if find(text, "^-?0[xX%d]", at) or find(text, "^%+", at) then return true end
  local name = match(text, "^-?(%a%a%a)", at)
  name = name and name:lower()
  return name == "inf" or name == "nan"
end

-- The kind of the next token, its value, the place behind it and its own place.
local function token(text, at)
  local c = byte(text, at)
  while IS_BLANK[c] do
    at = at + 1
    c = byte(text, at)
  end
  if PUNCTUATION[c] then return PUNCTUATION[c], nil, at + 1, at end
  if c == QUOTE then
    local value, after, place = string_at(text, at)
    if value then return "T_STRING", value, after, at end
    return after, nil, place, place
  end
  if c == nil or c == 0 then return "T_END", nil, at, at end
  local plain, behind = match(text, "^(-?[1-9]%d*)()[,%]} ]", at)
  if plain then return "T_NUMBER", tonumber(plain), behind, at end
  local word = WORDS[c]
  if word and sub(text, at, at + #word[1] - 1) == word[1] then return word[2], word[3], at + #word[1], at end
  local takes_invalid = config.decode_invalid == 1
  local is_number = find(text, "^[%d-]", at)
  if not is_number and not (takes_invalid and is_invalid_number(text, at)) then return "invalid token", nil, at, at end
  if takes_invalid or not is_invalid_number(text, at) then
    local value, after = number_at(text, at)
    if value then return "T_NUMBER", value, after, at end
  end
  return "invalid number", nil, at, at
end

local IS_SCALAR = { T_STRING = true, T_NUMBER = true, T_BOOLEAN = true, T_NULL = true }

local function decode_value(text, kind, value, after, at, depth)
  if IS_SCALAR[kind] then return value, after end
  if kind ~= "T_OBJ_BEGIN" and kind ~= "T_ARR_BEGIN" then unexpected("value", kind, at) end
  depth = depth + 1
  if depth > config.decode_depth then
    fail("Found too many nested data structures (" .. depth .. ") at character " .. after - 1)
  end
  local items = {}
  if kind == "T_ARR_BEGIN" then
    local n = 0
    kind, value, after, at = token(text, after)
    if kind == "T_ARR_END" then return items, after end
    while true do
      n = n + 1
      items[n], after = decode_value(text, kind, value, after, at, depth)
      kind, value, after, at = token(text, after)
      if kind == "T_ARR_END" then return items, after end
      if kind ~= "T_COMMA" then unexpected("comma or array end", kind, at) end
      kind, value, after, at = token(text, after)
    end
  end
  kind, value, after, at = token(text, after)
  if kind == "T_OBJ_END" then return items, after end
  while true do
    if kind ~= "T_STRING" then unexpected("object key string", kind, at) end
    local key = value
    kind, value, after, at = token(text, after)
    if kind ~= "T_COLON" then unexpected("colon", kind, at) end
    kind, value, after, at = token(text, after)
    items[key], after = decode_value(text, kind, value, after, at, depth)
    kind, value, after, at = token(text, after)
    if kind == "T_OBJ_END" then return items, after end
    if kind ~= "T_COMMA" then unexpected("comma or object end", kind, at) end
    kind, value, after, at = token(text, after)
  end
end

-- Settings ---------------------------------------------------------------------------------------------------------

local function bad_argument(name, n, text)
  fail("bad argument #" .. n .. " to '" .. name .. "' (" .. text .. ")")
end

local function check_count(name, n, most)
  if n > most then bad_argument(name, most + 1, "found too many arguments") end
end

local function set_integer(settings, key, name, n, value, low, high)
  if value == nil then return settings[key] end
  local number = tonumber(value)
  if not number then bad_argument(name, n, "number expected, got " .. type(value)) end
  number = codec.as_int(codec.integer_argument(name, n, n, number))
  if number < low or number > high then bad_argument(name, 1, "expected integer between " .. low .. " and " .. high) end
  settings[key] = number
  return number
end

local CHOICES = { off = 0, on = 1, null = 2 }

local function set_choice(settings, key, name, value, highest)
  if type(value) == "boolean" then
    settings[key] = value and 1 or 0
  elseif value ~= nil then
    if type(value) ~= "string" and type(value) ~= "number" then
      bad_argument(name, 1, "string expected, got " .. type(value))
    end
    local choice = CHOICES[value]
    if not choice or choice > highest then bad_argument(name, 1, "invalid option '" .. value .. "'") end
    settings[key] = choice
  end
  if settings[key] == 2 then return "null" end
  return settings[key] == 1
end

local instance
function instance(settings)
  local library = { _NAME = "cjson", _VERSION = "2.1.0", null = null }

  function library.encode(...)
    if select("#", ...) ~= 1 then fail("bad argument #1 to 'encode' (expected 1 argument)") end
    config = settings
    local out = {}
    encode_value(out, (...), 0)
    return concat(out)
  end

  function library.decode(...)
    local text = ...
    if select("#", ...) ~= 1 then fail("bad argument #1 to 'decode' (expected 1 argument)") end
    if type(text) == "number" then text = tostring(text) end
    if type(text) ~= "string" then
      fail("bad argument #1 to 'decode' (string expected, got " .. (text == nil and "nil" or type(text)) .. ")")
    end
    if #text > 1 and find(sub(text, 1, 2), "%z") then fail("JSON parser does not support UTF-16 or UTF-32") end
    config = settings
    local kind, value, after, at = token(text, 1)
    value, after = decode_value(text, kind, value, after, at, 0)
    local trailing, _, _, place = token(text, after)
    if trailing ~= "T_END" then unexpected("the end", trailing, place) end
    return value
  end

  function library.encode_sparse_array(...)
    local name, convert, ratio, safe = "encode_sparse_array", ...
    check_count(name, select("#", ...), 3)
    convert = set_choice(settings, "sparse_convert", name, convert, 1)
    ratio = set_integer(settings, "sparse_ratio", name, 2, ratio, 0, MAX_INTEGER)
    safe = set_integer(settings, "sparse_safe", name, 3, safe, 0, MAX_INTEGER)
    return convert, ratio, safe
  end

  local function integer_setting(name, key, high)
    library[name] = function(...)
      check_count(name, select("#", ...), 1)
      local reply = set_integer(settings, key, name, 1, (...), 1, high)
      return reply
    end
  end

  local function choice_setting(name, key, highest)
    library[name] = function(...)
      check_count(name, select("#", ...), 1)
      local reply = set_choice(settings, key, name, (...), highest)
      return reply
    end
  end

  integer_setting("encode_max_depth", "encode_depth", MAX_INTEGER)
  integer_setting("decode_max_depth", "decode_depth", MAX_INTEGER)
  integer_setting("encode_number_precision", "precision", 14)
  choice_setting("encode_keep_buffer", "keep_buffer", 1)
  choice_setting("encode_invalid_numbers", "encode_invalid", 2)
  choice_setting("decode_invalid_numbers", "decode_invalid", 1)

  function library.new()
    return instance(defaults({}))
  end
  return library
end

local settings = {}

function codec.begin_run()
  defaults(settings)
end

return instance(defaults(settings))
