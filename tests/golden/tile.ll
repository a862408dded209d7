define void @tile_8_2(ptr %a, ptr %b, i64 %depth, ptr %kept, i64 %place, ptr %c, ptr %residual, ptr %bias, i64 %line, i64 %count, ptr %places) nounwind {
entry.0:
  %.1 = getelementptr i8, ptr %c, i64 64
  call void @llvm.prefetch.p0(ptr %.1, i32 1, i32 3, i32 1)
  %.3 = getelementptr i8, ptr %c, i64 %line
  %.4 = getelementptr i8, ptr %.3, i64 64
  call void @llvm.prefetch.p0(ptr %.4, i32 1, i32 3, i32 1)
  %.6 = and i64 %depth, 3
  %.7 = sub i64 %depth, %.6
  %.8 = icmp slt i64 0, %.7
  br i1 %.8, label %loop.1, label %done.2
loop.1:
  %.11 = phi i64 [ 0, %entry.0 ], [ %.69, %loop.1 ]
  %.12 = phi ptr [ %a, %entry.0 ], [ %.67, %loop.1 ]
  %.13 = phi ptr [ %b, %entry.0 ], [ %.68, %loop.1 ]
  %.14 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.61, %loop.1 ]
  %.15 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.66, %loop.1 ]
  %.16 = getelementptr i8, ptr %.12, i64 2048
  call void @llvm.prefetch.p0(ptr %.16, i32 0, i32 3, i32 1)
  %.18 = load <8 x float>, ptr %.13, align 4
  %.19 = load float, ptr %.12, align 4
  %.20 = insertelement <8 x float> poison, float %.19, i64 0
  %.21 = shufflevector <8 x float> %.20, <8 x float> poison, <8 x i32> zeroinitializer
  %.22 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.21, <8 x float> %.18, <8 x float> %.14)
  %.23 = getelementptr i8, ptr %.12, i64 4
  %.24 = load float, ptr %.23, align 4
  %.25 = insertelement <8 x float> poison, float %.24, i64 0
  %.26 = shufflevector <8 x float> %.25, <8 x float> poison, <8 x i32> zeroinitializer
  %.27 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.26, <8 x float> %.18, <8 x float> %.15)
  call void asm sideeffect "", "~{memory}"()
  %.29 = getelementptr i8, ptr %.13, i64 32
  %.30 = load <8 x float>, ptr %.29, align 4
  %.31 = getelementptr i8, ptr %.12, i64 8
  %.32 = load float, ptr %.31, align 4
  %.33 = insertelement <8 x float> poison, float %.32, i64 0
  %.34 = shufflevector <8 x float> %.33, <8 x float> poison, <8 x i32> zeroinitializer
  %.35 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.34, <8 x float> %.30, <8 x float> %.22)
  %.36 = getelementptr i8, ptr %.12, i64 12
  %.37 = load float, ptr %.36, align 4
  %.38 = insertelement <8 x float> poison, float %.37, i64 0
  %.39 = shufflevector <8 x float> %.38, <8 x float> poison, <8 x i32> zeroinitializer
  %.40 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.39, <8 x float> %.30, <8 x float> %.27)
  call void asm sideeffect "", "~{memory}"()
  %.42 = getelementptr i8, ptr %.13, i64 64
  %.43 = load <8 x float>, ptr %.42, align 4
  %.44 = getelementptr i8, ptr %.12, i64 16
  %.45 = load float, ptr %.44, align 4
  %.46 = insertelement <8 x float> poison, float %.45, i64 0
  %.47 = shufflevector <8 x float> %.46, <8 x float> poison, <8 x i32> zeroinitializer
  %.48 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.47, <8 x float> %.43, <8 x float> %.35)
  %.49 = getelementptr i8, ptr %.12, i64 20
  %.50 = load float, ptr %.49, align 4
  %.51 = insertelement <8 x float> poison, float %.50, i64 0
  %.52 = shufflevector <8 x float> %.51, <8 x float> poison, <8 x i32> zeroinitializer
  %.53 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.52, <8 x float> %.43, <8 x float> %.40)
  call void asm sideeffect "", "~{memory}"()
  %.55 = getelementptr i8, ptr %.13, i64 96
  %.56 = load <8 x float>, ptr %.55, align 4
  %.57 = getelementptr i8, ptr %.12, i64 24
  %.58 = load float, ptr %.57, align 4
  %.59 = insertelement <8 x float> poison, float %.58, i64 0
  %.60 = shufflevector <8 x float> %.59, <8 x float> poison, <8 x i32> zeroinitializer
  %.61 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.60, <8 x float> %.56, <8 x float> %.48)
  %.62 = getelementptr i8, ptr %.12, i64 28
  %.63 = load float, ptr %.62, align 4
  %.64 = insertelement <8 x float> poison, float %.63, i64 0
  %.65 = shufflevector <8 x float> %.64, <8 x float> poison, <8 x i32> zeroinitializer
  %.66 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.65, <8 x float> %.56, <8 x float> %.53)
  %.67 = getelementptr i8, ptr %.12, i64 32
  %.68 = getelementptr i8, ptr %.13, i64 128
  %.69 = add nsw i64 %.11, 4
  %.70 = icmp slt i64 %.69, %.7
  br i1 %.70, label %loop.1, label %done.2
done.2:
  %.73 = phi ptr [ %a, %entry.0 ], [ %.67, %loop.1 ]
  %.74 = phi ptr [ %b, %entry.0 ], [ %.68, %loop.1 ]
  %.75 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.61, %loop.1 ]
  %.76 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.66, %loop.1 ]
  %.77 = icmp slt i64 %.7, %depth
  br i1 %.77, label %loop.3, label %done.4
loop.3:
  %.80 = phi i64 [ %.7, %done.2 ], [ %.99, %loop.3 ]
  %.81 = phi ptr [ %.73, %done.2 ], [ %.97, %loop.3 ]
  %.82 = phi ptr [ %.74, %done.2 ], [ %.98, %loop.3 ]
  %.83 = phi <8 x float> [ %.75, %done.2 ], [ %.91, %loop.3 ]
  %.84 = phi <8 x float> [ %.76, %done.2 ], [ %.96, %loop.3 ]
  %.85 = getelementptr i8, ptr %.81, i64 2048
  call void @llvm.prefetch.p0(ptr %.85, i32 0, i32 3, i32 1)
  %.87 = load <8 x float>, ptr %.82, align 4
  %.88 = load float, ptr %.81, align 4
  %.89 = insertelement <8 x float> poison, float %.88, i64 0
  %.90 = shufflevector <8 x float> %.89, <8 x float> poison, <8 x i32> zeroinitializer
  %.91 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.90, <8 x float> %.87, <8 x float> %.83)
  %.92 = getelementptr i8, ptr %.81, i64 4
  %.93 = load float, ptr %.92, align 4
  %.94 = insertelement <8 x float> poison, float %.93, i64 0
  %.95 = shufflevector <8 x float> %.94, <8 x float> poison, <8 x i32> zeroinitializer
  %.96 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.95, <8 x float> %.87, <8 x float> %.84)
  %.97 = getelementptr i8, ptr %.81, i64 8
  %.98 = getelementptr i8, ptr %.82, i64 32
  %.99 = add nsw i64 %.80, 1
  %.100 = icmp slt i64 %.99, %depth
  br i1 %.100, label %loop.3, label %done.4
done.4:
  %.103 = phi ptr [ %.73, %done.2 ], [ %.97, %loop.3 ]
  %.104 = phi ptr [ %.74, %done.2 ], [ %.98, %loop.3 ]
  %.105 = phi <8 x float> [ %.75, %done.2 ], [ %.91, %loop.3 ]
  %.106 = phi <8 x float> [ %.76, %done.2 ], [ %.96, %loop.3 ]
  %.107 = and i64 %place, 1
  %.108 = icmp sgt i64 %.107, 0
  br i1 %.108, label %then.5, label %merge.6
then.5:
  %.111 = load <8 x float>, ptr %kept, align 4
  %.112 = fadd <8 x float> %.111, %.105
  %.113 = getelementptr i8, ptr %kept, i64 32
  %.114 = load <8 x float>, ptr %.113, align 4
  %.115 = fadd <8 x float> %.114, %.106
  br label %merge.6
merge.6:
  %.118 = phi <8 x float> [ %.112, %then.5 ], [ %.105, %done.4 ]
  %.119 = phi <8 x float> [ %.115, %then.5 ], [ %.106, %done.4 ]
  %.120 = and i64 %place, 2
  %.121 = icmp sgt i64 %.120, 0
  br i1 %.121, label %then.7, label %else.9
then.7:
  %.124 = call i64 @llvm.smin.i64(i64 %count, i64 8)
  %.125 = trunc i64 %.124 to i32
  %.126 = insertelement <8 x i32> poison, i32 %.125, i64 0
  %.127 = shufflevector <8 x i32> %.126, <8 x i32> poison, <8 x i32> zeroinitializer
  %.128 = icmp slt <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>, %.127
  %.129 = load float, ptr %bias, align 4
  %.130 = insertelement <8 x float> poison, float %.129, i64 0
  %.131 = shufflevector <8 x float> %.130, <8 x float> poison, <8 x i32> zeroinitializer
  %.132 = mul i64 %line, 0
  %.133 = fadd <8 x float> %.118, %.131
  %.134 = fcmp ogt <8 x float> splat (float 0x0000000000000000), %.133
  %.135 = select <8 x i1> %.134, <8 x float> splat (float 0x0000000000000000), <8 x float> %.133
  %.136 = getelementptr i8, ptr %c, i64 %.132
  call void @llvm.masked.store.v8f32.p0(<8 x float> %.135, ptr %.136, i32 4, <8 x i1> %.128)
  %.138 = getelementptr i8, ptr %bias, i64 4
  %.139 = load float, ptr %.138, align 4
  %.140 = insertelement <8 x float> poison, float %.139, i64 0
  %.141 = shufflevector <8 x float> %.140, <8 x float> poison, <8 x i32> zeroinitializer
  %.142 = fadd <8 x float> %.119, %.141
  %.143 = fcmp ogt <8 x float> splat (float 0x0000000000000000), %.142
  %.144 = select <8 x i1> %.143, <8 x float> splat (float 0x0000000000000000), <8 x float> %.142
  %.145 = getelementptr i8, ptr %c, i64 %line
  call void @llvm.masked.store.v8f32.p0(<8 x float> %.144, ptr %.145, i32 4, <8 x i1> %.128)
  br label %merge.8
else.9:
  store <8 x float> %.118, ptr %kept, align 4
  %.150 = getelementptr i8, ptr %kept, i64 32
  store <8 x float> %.119, ptr %.150, align 4
  br label %merge.8
merge.8:
  ret void
}
