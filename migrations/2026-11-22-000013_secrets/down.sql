DROP INDEX tokens_foreign;
DROP INDEX tokens_chosen;
