/* ast_print.h: shared by the two halves of the printer. */
#pragma once
#include "sql/ast.h"

void print_string(buf_t *o, const char *s, size_t n);
void print_exprs(buf_t *o, ast_exprs_t l, const char *sep);
void print_orders(buf_t *o, ast_orders_t l);
void print_idents(buf_t *o, ast_idents_t l); /* (a, b) */
void print_window(buf_t *o, const ast_window_t *w); /* the parenthesis */
void print_order(buf_t *o, const ast_order_t *i);
void print_value(buf_t *o, const ast_expr_t *e); /* as an operand of BETWEEN, a bound, a key */
