//! ckpt-rotate: the thirteen things that must never happen, real files, crashes, and others at work in the directory.

mod bar;
mod crash;
mod damage;
mod make;
mod others;
mod property;
mod rules;
mod save;
mod scenarios;
mod units;
