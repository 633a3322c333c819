/* test_func_string.c: texts, patterns, digests, URLs, JSON, arrays. */
#include "../helpers/test.h"
#include "harness.h"

#define S(x) fx_s(&f, x)
#define I(x) fx_i(&f, x)
#define IS(want, name, ...) fx_is(&f, fx_call(&f, name, (int)(sizeof((expr_t *[]){__VA_ARGS__}) / sizeof(expr_t *)), __VA_ARGS__), want)

START_TEST(cutting_and_padding) {
    fx_t f = fx_new();
    IS("cd", "SUBSTRING", S("abcd"), I(3));
    IS("cd", "SUBSTRING", S("abcd"), I(-2));
    IS("", "SUBSTRING", S("abcd"), I(-5));
    IS("ab", "SUBSTRING", S("abcd"), I(0), I(2));
    IS("NULL", "SUBSTRING", S("abcd"), I(1), I(-1));
    IS("ïv", "SUBSTRING", S("naïve"), I(3), I(2));
    IS("na", "LEFT", S("naïve"), I(2));
    IS("ïve", "RIGHT", S("naïve"), I(3));
    IS("", "LEFT", S("x"), I(-1));
    IS("**7", "LPAD", S("7"), I(3), S("*"));
    IS("7xyx", "RPAD", S("7"), I(4), S("xy"));
    IS("na", "LPAD", S("naïve"), I(2), S("*"));
    IS("NULL", "LPAD", S("7"), I(-1), S("*"));
    IS("NULL", "LPAD", S("7"), I(3), S(""));
    IS("evïan", "REVERSE", S("naïve"));
    IS("ababab", "REPEAT", S("ab"), I(3));
    fx_fails(&f, fx_call(&f, "REPEAT", 2, S("0123456789"), I(2000000000)), ERR_LIMIT, "longer than");
    IS("ax", "TRIM", fx_sym(&f, "LEADING"), S("x"), S("xxax"));
    IS("a", "TRIM", S("  a  "));
    IS("a--d", "OVERLAY", S("abcd"), S("--"), I(2), I(2));
    IS("a--", "OVERLAY", S("abcd"), S("--"), I(2), I(0)); /* as Flink: nothing is left behind it */
    IS("C", "CHR", I(67 + 256));
    IS("101", "ASCII", S("epsilon"));
    fx_free(&f);
}
END_TEST

START_TEST(searching_joining_splitting) {
    fx_t f = fx_new();
    IS("3", "POSITION", S("ï"), S("naïve"));
    IS("0", "POSITION", S("z"), S("naïve"));
    IS("5", "LOCATE", S("a"), S("aaxxa"), I(3));
    IS("2", "LOCATE", S("a"), S("xaxxa"), I(0));
    IS("5", "INSTR", S("aaxxa"), S("a"), I(-1));
    IS("1", "LOCATE", S(""), S("abc"), I(3)); /* nothing is found at 1, as in Flink */
    IS("1", "INSTR", S("abc"), S(""), I(2));
    IS("0", "CARDINALITY", fx_call(&f, "SPLIT", 2, S(""), S(",")));
    IS("2", "CARDINALITY", fx_call(&f, "SPLIT", 2, S(","), S(",")));
    IS("b<A>n<A>", "REPLACE", S("bana"), S("a"), S("<A>"));
    IS("a/b", "CONCAT_WS", S("/"), S("a"), fx_null(&f), S("b"));
    IS("NULL", "CONCAT", S("a"), expr_null(f.a, &type_string));
    IS("NaïVe Foo", "INITCAP", S("naïve fOO"));
    IS("ÜNÏ", "UPPER", S("ünï"));
    IS("d e", "SPLIT_INDEX", S("ccc,d e,"), S(","), I(1));
    IS("", "SPLIT_INDEX", S("ccc,d e,"), S(","), I(2));
    IS("NULL", "SPLIT_INDEX", S("ccc"), S(","), I(1));
    IS("NULL", "SPLIT_INDEX", S(""), S(","), I(0));
    IS("{a=2, b=}", "STR_TO_MAP", S("a=1,b=,a=2"));
    IS("{a=NULL}", "STR_TO_MAP", S("a"));
    fx_fails(&f, fx_call(&f, "STR_TO_MAP", 2, S("a=1|b=2"), S("|")), ERR_UNSUPPORTED, "regular expression");
    IS("[a, , b]", "SPLIT", S("a,,b"), S(","));
    fx_free(&f);
}
END_TEST

START_TEST(patterns) {
    fx_t f = fx_new();
    IS("TRUE", "LIKE", S("abc"), S("a%"));
    IS("TRUE", "LIKE", S("abc"), S("%b%"));
    IS("FALSE", "LIKE", S("abc"), S("_b"));
    IS("TRUE", "LIKE", S("ïbc"), S("_b_"));
    IS("TRUE", "LIKE", S("100%"), S("%!%"), S("!"));
    IS("FALSE", "LIKE", S("100"), S("%!%"), S("!"));
    IS("TRUE", "LIKE", S("aXbXc"), S("a%b%c"));
    IS("FALSE", "LIKE", S(""), S("_%"));
    IS("TRUE", "LIKE", S(""), S("%"));
    fx_fails(&f, fx_call(&f, "LIKE", 3, S("a"), S("!a"), S("!")), ERR_DATA, "escape");
    IS("TRUE", "SIMILAR TO", S("bar2"), S("(foo|bar)_"));
    IS("FALSE", "SIMILAR TO", S("xbar2"), S("(foo|bar)_"));
    IS("22", "REGEXP_EXTRACT", S("y22z"), S("([a-z])([0-9]+)"), I(2));
    IS("NULL", "REGEXP_EXTRACT", S("y22z"), S("([a-z])"), I(5));
    IS("NULL", "REGEXP_EXTRACT", S("y"), S("(unclosed"));
    IS("$2 $1", "REGEXP_REPLACE", S("a b"), S("(\\w+) (\\w+)"), S("$2 $1"));
    IS("-a-b-", "REGEXP_REPLACE", S("ab"), S("x*"), S("-"));
    IS("TRUE", "REGEXP", S("xay"), S("a"));
    IS("FALSE", "REGEXP", S("xay"), S(""));
    IS("\xce\x9f\xce\x94\xce\x9f\xce\xa3 STRASSE \xc7\x84", "UPPER", S("\xce\xbf\xce\xb4\xce\xbf\xcf\x82 stra\xc3\x9f" "e \xc7\x85"));
    IS("\xce\xbf\xce\xb4\xce\xbf\xcf\x82 i\xcc\x87 \xc3\x9f", "LOWER", S("\xce\x9f\xce\x94\xce\x9f\xce\xa3 \xc4\xb0 \xe1\xba\x9e"));
    IS("0", "INSTR", S("hello"), S("l"), I(0));
    IS("3", "INSTR", S("hello"), S("ll"), I(-2));
    IS("0", "INSTR", S("hello"), S("ll"), I(-4));
    IS("b", "SPLIT_INDEX", S("a\tb c"), S(""), I(1));
    IS("4", "POSITION", S("l"), S("hello"), I(4));
    IS("FALSE", "REGEXP", S("xay"), S("["));
    IS("TRUE", "REGEXP", S("xAy"), S("^\\p{Ll}\\p{Lu}\\pL$"));
    IS("TRUE", "SIMILAR TO", S("ab1"), S("[[:ALPHA:]]+[[:DIGIT:]]"));
    IS("TRUE", "LIKE", S("a\\%"), S("a\\%"), S(""));
    IS("TRUE", ">", I(10), S("9")); /* a text beside a number is one */
    IS("FALSE", "BETWEEN", I(10), S("1"), S("9"));
    IS("TRUE", "IN", I(10), S("9"), S("10"));
    fx_fails(&f, fx_call(&f, "REGEXP", 2, S("a"), S("[a&&[b]]")), ERR_UNSUPPORTED, "Java and PCRE2");
    fx_fails(&f, fx_call(&f, "REGEXP", 2, S("a"), S("\\p{IsGreek}")), ERR_UNSUPPORTED, "Java and PCRE2");
    fx_str(&f, "p", (const char *[]){"a", "b", NULL, "a"}, 4);
    fx_is(&f, fx_call(&f, "REGEXP", 2, S("xa"), fx_col(&f, "p")), "TRUE, FALSE, NULL, TRUE");
    fx_free(&f);
}
END_TEST

START_TEST(every_match_of_a_group) {
    fx_t f = fx_new();
    IS("[a, a]", "REGEXP_EXTRACT_ALL", S("abab"), S("(a)(b)"));
    IS("[l, l, l]", "REGEXP_EXTRACT_ALL", S("Hello World"), S("l"), I(0));
    IS("[NULL, NULL, o, o, NULL]", "REGEXP_EXTRACT_ALL", S("Hello World"), S("(l)|(o)"), I(2));
    IS("[]", "REGEXP_EXTRACT_ALL", S("x"), S("(a)"));
    IS("NULL", "REGEXP_EXTRACT_ALL", S("abab"), S("ab"));
    IS("NULL", "REGEXP_EXTRACT_ALL", S("abab"), S("(a)"), I(-1));
    IS("NULL", "REGEXP_EXTRACT_ALL", S("abab"), S("("));
    IS("[, , ]", "REGEXP_EXTRACT_ALL", S("ab"), S("()"));
    fx_free(&f);
}
END_TEST

START_TEST(characters_translated_and_classified) {
    fx_t f = fx_new();
    expr_t *no = expr_null(f.a, &type_string);
    IS("He11 Wr1d", "TRANSLATE", S("Hello World"), S("lo"), S("1"));
    IS("He11o", "TRANSLATE3", S("Hello"), S("ll"), S("12"));
    IS("Heo", "TRANSLATE", S("Hello"), S("l"), no);
    IS("Hello", "TRANSLATE", S("Hello"), no, S("x"));
    IS("axbyc", "TRANSLATE", S("aéb😀c"), S("é😀"), S("xy"));
    IS("b", "ELT", I(2), S("a"), S("b"));
    IS("NULL", "ELT", I(3), S("a"), S("b"));
    IS("NULL", "ELT", I(0), S("a"), S("b"));
    IS("TRUE", "IS_DIGIT", S("1٣"));
    IS("FALSE", "IS_DIGIT", S("1a"));
    IS("FALSE", "IS_DIGIT", S(""));
    IS("FALSE", "IS_DIGIT", no);
    IS("TRUE", "IS_DIGIT", I(-5));
    IS("TRUE", "IS_ALPHA", S("ä漢"));
    IS("FALSE", "IS_ALPHA", I(5));
    static const char *const yes[] = {"-1.5e3", ".5", "5.", " 5", "NaN", "Infinity", "0x1p3", "1f", "1d", "+5"};
    static const char *const bad[] = {"", "1e", "1L", "1_0", ".", "0x1", "nan"};
    for (size_t k = 0; k < ARRAY_LEN(yes); k++) IS("TRUE", "IS_DECIMAL", S(yes[k]));
    for (size_t k = 0; k < ARRAY_LEN(bad); k++) IS("FALSE", "IS_DECIMAL", S(bad[k]));
    fx_is(&f, fx_call(&f, "CURRENT_DATABASE", 0), "default_database");
    fx_free(&f);
}
END_TEST

/* Every expected text was computed by Java's Formatter. */
START_TEST(printf_is_javas) {
    fx_t f = fx_new();
    expr_t *no = expr_null(f.a, &type_int);
    IS("   42|7    |00300", "PRINTF", S("%5d|%-5d|%05d"), I(42), I(7), I(300));
    IS("80000000 2A 20000000000", "PRINTF", S("%x %X %o"), I(INT32_MIN), I(42), I(INT32_MIN));
    IS("-2,147,483,648 +42 (5)", "PRINTF", S("%,d %+d %(d"), I(INT32_MIN), I(42), I(-5));
    IS("-1234567.88|     2.250|", "PRINTF", S("%.2f|%10.3f|"), fx_d(&f, -1234567.875), fx_d(&f, 2.25));
    IS("0.13 100000000000000000000.00 0", "PRINTF", S("%.2f %.2f %.0f"), fx_d(&f, 0.125), fx_d(&f, 1e20), fx_d(&f, 0.4));
    IS("10.0 1 0.00", "PRINTF", S("%.1f %.0f %.2f"), fx_d(&f, 9.96), fx_d(&f, 0.5), fx_d(&f, 0.0001));
    IS("-1.234568e+06 0.000000e+00 1.000000E+20", "PRINTF", S("%e %e %E"), fx_d(&f, -1234567.875), fx_d(&f, 0), fx_d(&f, 1e20));
    IS("2.25000 -1.23457e+06 0.00000", "PRINTF", S("%g %g %g"), fx_d(&f, 2.25), fx_d(&f, -1234567.875), fx_d(&f, 0));
    IS("1.0E20 1970-01-01T00:00", "PRINTF", S("%s %s"), fx_d(&f, 1e20), fx_ts(&f, "1970-01-01 00:00:00"));
    IS(" null nu false NULL", "PRINTF", S("%5d %.2f %b %S"), no, no, no, no);
    IS("b a a 100%\n", "PRINTF", S("%2$s %1$s %<s 100%%%n"), S("a"), S("b"));
    IS("ÄÖ SS|He|x  |", "PRINTF", S("%S|%.2s|%-3s|"), S("äö ß"), S("Hello"), S("x"));
    static const char *const bad[] = {"%d", "%q", "%-d", "%.1d", "%f", "%s %s", "%", "%0s"};
    for (size_t k = 0; k < ARRAY_LEN(bad); k++) IS("NULL", "PRINTF", S(bad[k]), S("text"));
    expr_t *args[] = {S("%s"), fx_call(&f, "ARRAY", 1, I(1))}, *ret;
    ck_fails(func_bind(f.a, "PRINTF", args, 2, &ret), ERR_TYPE, "no text");
    fx_free(&f);
}
END_TEST

START_TEST(digests_and_codes) {
    fx_t f = fx_new();
    IS("900150983cd24fb0d6963f7d28e17f72", "MD5", S("abc"));
    IS("a9993e364706816aba3e25717850c26c9cd0d89d", "SHA1", S("abc"));
    IS("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "SHA2", S("abc"), I(256));
    IS("ZXBzaWxvbl8x", "TO_BASE64", S("epsilon_1"));
    IS("epsilon_1", "FROM_BASE64", S("ZXBzaWxvbl8x"));
    IS("++na%C3%AFve", "URL_ENCODE", S("  naïve"));
    IS("a b", "URL_DECODE", S("a%20b"));
    IS("NULL", "URL_DECODE", S("a%2"));
    IS("host.net", "PARSE_URL", S("http://user:pw@host.net:80/p?q=1#r"), S("HOST"));
    IS("", "PARSE_URL", S("ftp://host.net?q=1"), S("PATH"));
    IS("abc", "PARSE_URL", S("http://h/p?a=1&q=abc"), S("QUERY"), S("q"));
    IS("NULL", "PARSE_URL", S("no url"), S("HOST"));
    IS("FFFFFFFFFFFFFE36", "HEX", I(-458));
    IS("6162", "HEX", S("ab"));
    IS("1011101", "BIN", I(93));
    fx_free(&f);
}
END_TEST

static expr_t *bytes_of(fx_t *f, const char *hex) { return fx_call(f, "UNHEX", 1, fx_s(f, hex)); }

START_TEST(addresses_are_numbers) {
    fx_t f = fx_new();
    IS("2130706433", "INET_ATON", S("127.0.0.1"));
    IS("4294967295", "INET_ATON", S("255.255.255.255"));
    IS("16777218", "INET_ATON", S("1.2"));
    IS("16908291", "INET_ATON", S("1.2.3"));
    IS("4294967295", "INET_ATON", S("4294967295"));
    static const char *const none[] = {"256.1.1.1", "1.2.256", "1.2.3.4.5", "", " 1.2.3.4", "1..2", "a", "4294967296", "-1.0.0.0", "1.2.3."};
    for (size_t k = 0; k < ARRAY_LEN(none); k++) IS("NULL", "INET_ATON", S(none[k]));
    IS("255.0.10.1", "INET_NTOA", fx_call(&f, "INET_ATON", 1, S("255.0.10.1")));
    IS("127.0.0.1", "INET_NTOA", I(2130706433));
    IS("NULL", "INET_NTOA", fx_call(&f, "+", 2, fx_call(&f, "INET_ATON", 1, S("255.255.255.255")), I(1)));
    IS("NULL", "INET_NTOA", fx_i(&f, -1));
    fx_free(&f);
}
END_TEST

START_TEST(charsets_as_java_reads_and_writes_them) {
    fx_t f = fx_new();
    IS("FEFF004100E4D83DDE00", "HEX", fx_call(&f, "ENCODE", 2, S("Aä😀"), S("UTF-16")));
    IS("41003DD800DE", "HEX", fx_call(&f, "ENCODE", 2, S("A😀"), S("utf-16le")));
    IS("41E43F", "HEX", fx_call(&f, "ENCODE", 2, S("Aä漢"), S("ISO-8859-1")));
    IS("A", "DECODE", bytes_of(&f, "FFFE4100"), S("UTF-16")); /* the mark tells the order */
    IS("AB", "DECODE", bytes_of(&f, "00410042"), S("UTF-16"));
    IS("😀", "DECODE", bytes_of(&f, "D83DDE00"), S("UTF-16BE"));
    IS("�", "DECODE", bytes_of(&f, "D83D0041"), S("UTF-16BE")); /* half a pair takes the next unit with it */
    IS("A�", "DECODE", bytes_of(&f, "004100"), S("UTF-16BE"));
    IS("��", "DECODE", bytes_of(&f, "80E4"), S("US-ASCII"));
    IS("ä�", "DECODE", bytes_of(&f, "C3A4F0"), S("UTF-8"));
    IS("�", "URL_DECODE", S("%FF"));
    IS("00000041000000E40001F600", "HEX", fx_call(&f, "ENCODE", 2, S("Aä😀"), S("UTF-32")));
    IS("4100000000F60100", "HEX", fx_call(&f, "ENCODE", 2, S("A😀"), S("utf-32le")));
    IS("A😀", "DECODE", bytes_of(&f, "FFFE00004100000000F60100"), S("UTF-32"));
    IS("A��", "DECODE", bytes_of(&f, "000000410011000000"), S("UTF-32BE"));
    IS("0014", "HEX", bytes_of(&f, "414")); /* Flink writes a zero byte for the digit without a partner */
    IS("NULL", "UNHEX", S("x14"));
    fx_fails(&f, fx_call(&f, "DECODE", 2, bytes_of(&f, "41"), S("EBCDIC")), ERR_UNSUPPORTED, "character set");
    fx_free(&f);
}
END_TEST

START_TEST(json) {
    fx_t f = fx_new();
    expr_t *doc = S("{\"b\":{\"z\":1,\"a\":[1e3,null,\"x\\n\"]},\"s\":\"t\",\"n\":null,\"i\":7}");
    IS("t", "JSON_VALUE", doc, S("$.s"));
    IS("1E+3", "JSON_VALUE", doc, S("$.b.a[0]"));
    IS("NULL", "JSON_VALUE", doc, S("$.b"));
    IS("NULL", "JSON_VALUE", doc, S("$.n"));
    expr_t *i = expr_null(f.a, &type_int), *null = fx_null(&f);
    IS("7", "JSON_VALUE", doc, S("$.i"), i, fx_sym(&f, "NULL"), null, fx_sym(&f, "NULL"), null);
    expr_t *str = expr_null(f.a, &type_string);
    IS("none", "JSON_VALUE", doc, S("lax $.q"), str, fx_sym(&f, "DEFAULT"), S("none"), fx_sym(&f, "DEFAULT"), S("bad"));
    IS("bad", "JSON_VALUE", doc, S("strict $.q"), str, fx_sym(&f, "DEFAULT"), S("none"), fx_sym(&f, "DEFAULT"), S("bad"));
    IS("{\"a\":[1E+3,null,\"x\\n\"],\"z\":1}", "JSON_QUERY", doc, S("$.b"));
    IS("[\"t\"]", "JSON_QUERY", doc, S("$.s"), fx_sym(&f, "UNCONDITIONAL"));
    IS("NULL", "JSON_QUERY", doc, S("$.s"));
    IS("TRUE", "JSON_EXISTS", doc, S("$.b.a[2]"));
    IS("FALSE", "JSON_EXISTS", doc, S("$.b.a[3]"));
    IS("TRUE", "IS JSON OBJECT", doc);
    IS("FALSE", "IS JSON VALUE", S("{"));
    IS("FALSE", "IS JSON VALUE", expr_null(f.a, &type_string));
    fx_fails(&f, fx_call(&f, "JSON_VALUE", 2, doc, S("$[?(@.a =~ 1)]")), ERR_UNSUPPORTED, "path");
    fx_free(&f);
}
END_TEST

START_TEST(arrays_and_maps) {
    fx_t f = fx_new();
    expr_t *a = fx_call(&f, "ARRAY", 4, I(3), I(1), expr_null(f.a, &type_int), I(3));
    IS("[3, 1, NULL]", "ARRAY_DISTINCT", a);
    IS("[NULL, 1, 3, 3]", "ARRAY_SORT", a);
    IS("[3, NULL, 1, 3]", "ARRAY_REVERSE", a);
    IS("[3, 1, NULL, 9]", "ARRAY_UNION", a, fx_call(&f, "ARRAY", 2, I(9), I(1)));
    IS("[3]", "ARRAY_INTERSECT", a, fx_call(&f, "ARRAY", 1, I(3)));
    IS("[1, NULL]", "ARRAY_EXCEPT", a, fx_call(&f, "ARRAY", 1, I(3)));
    IS("TRUE", "ARRAY_CONTAINS", a, expr_null(f.a, &type_int));
    IS("2", "ARRAY_POSITION", a, I(1));
    IS("3", "ARRAY_MAX", a);
    IS("[1, NULL]", "ARRAY_SLICE", a, I(2), I(-2));
    IS("[3]", "ARRAY_SLICE", a, I(0), I(0)); /* an end before the first element is the first */
    IS("[3]", "ARRAY_SLICE", a, I(-9), I(-8));
    IS("4", "CARDINALITY", a);
    IS("a+b", "ARRAY_JOIN", fx_call(&f, "ARRAY", 3, S("a"), expr_null(f.a, &type_string), S("b")), S("+"));
    expr_t *long_text = fx_call(&f, "REPEAT", 2, S("0123456789"), I(4000000));
    fx_fails(&f, fx_call(&f, "ARRAY_JOIN", 2, fx_call(&f, "ARRAY", 3, S("a"), S("b"), S("c")), long_text), ERR_LIMIT, "ARRAY_JOIN: the result would be longer than 64 MB");
    expr_t *index[2] = {a, fx_call(&f, "NEG", 1, I(1))}, *null[2] = {S("a"), fx_null(&f)}, *ret;
    ck_fails(func_bind(f.a, "ITEM", index, 2, &ret), ERR_TYPE, "begins with 1");
    index[1] = I(0);
    ck_fails(func_bind(f.a, "ITEM", index, 2, &ret), ERR_TYPE, "begins with 1");
    ck_fails(func_bind(f.a, "MAP", null, 2, &ret), ERR_TYPE, "NULL alone");
    expr_t *m = fx_call(&f, "MAP", 4, S("k"), I(1), S("l"), I(2));
    IS("2", "ITEM", m, S("l"));
    IS("NULL", "ITEM", m, S("q"));
    IS("[k, l]", "MAP_KEYS", m);
    IS("[(k, 1), (l, 2)]", "MAP_ENTRIES", m);
    IS("{k=1, l=5, m=6}", "MAP_UNION", m, fx_call(&f, "MAP", 4, S("l"), I(5), S("m"), I(6)));
    IS("{k=1, l=2}", "MAP_FROM_ARRAYS", fx_call(&f, "MAP_KEYS", 1, m), fx_call(&f, "MAP_VALUES", 1, m));
    IS("2", "FIELD", fx_call(&f, "ITEM", 2, fx_call(&f, "MAP_ENTRIES", 1, m), I(2)), fx_sym(&f, "value"));
    fx_free(&f);
}
END_TEST

TESTS("engine/func_string", cutting_and_padding, searching_joining_splitting, patterns, every_match_of_a_group, characters_translated_and_classified,
      printf_is_javas, digests_and_codes,
      addresses_are_numbers, charsets_as_java_reads_and_writes_them,
      json, arrays_and_maps)
