define void @tile_8_2(ptr %a, ptr %b, i64 %depth, ptr %kept, i64 %place, ptr %c, ptr %residual, ptr %bias, i64 %line, i64 %count, ptr %places) nounwind {
entry.0:
  %.1 = and i64 %depth, 3
  %.2 = sub i64 %depth, %.1
  %.3 = icmp slt i64 0, %.2
  br i1 %.3, label %loop.1, label %done.2
loop.1:
  %.6 = phi i64 [ 0, %entry.0 ], [ %.61, %loop.1 ]
  %.7 = phi ptr [ %a, %entry.0 ], [ %.59, %loop.1 ]
  %.8 = phi ptr [ %b, %entry.0 ], [ %.60, %loop.1 ]
  %.9 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.53, %loop.1 ]
  %.10 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.58, %loop.1 ]
  %.11 = getelementptr i8, ptr %.7, i64 2048
  call void @llvm.prefetch.p0(ptr %.11, i32 0, i32 3, i32 1)
  %.13 = load <8 x float>, ptr %.8, align 4
  %.14 = load float, ptr %.7, align 4
  %.15 = insertelement <8 x float> poison, float %.14, i64 0
  %.16 = shufflevector <8 x float> %.15, <8 x float> poison, <8 x i32> zeroinitializer
  %.17 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.16, <8 x float> %.13, <8 x float> %.9)
  %.18 = getelementptr i8, ptr %.7, i64 4
  %.19 = load float, ptr %.18, align 4
  %.20 = insertelement <8 x float> poison, float %.19, i64 0
  %.21 = shufflevector <8 x float> %.20, <8 x float> poison, <8 x i32> zeroinitializer
  %.22 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.21, <8 x float> %.13, <8 x float> %.10)
  %.23 = getelementptr i8, ptr %.8, i64 32
  %.24 = load <8 x float>, ptr %.23, align 4
  %.25 = getelementptr i8, ptr %.7, i64 8
  %.26 = load float, ptr %.25, align 4
  %.27 = insertelement <8 x float> poison, float %.26, i64 0
  %.28 = shufflevector <8 x float> %.27, <8 x float> poison, <8 x i32> zeroinitializer
  %.29 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.28, <8 x float> %.24, <8 x float> %.17)
  %.30 = getelementptr i8, ptr %.7, i64 12
  %.31 = load float, ptr %.30, align 4
  %.32 = insertelement <8 x float> poison, float %.31, i64 0
  %.33 = shufflevector <8 x float> %.32, <8 x float> poison, <8 x i32> zeroinitializer
  %.34 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.33, <8 x float> %.24, <8 x float> %.22)
  %.35 = getelementptr i8, ptr %.8, i64 64
  %.36 = load <8 x float>, ptr %.35, align 4
  %.37 = getelementptr i8, ptr %.7, i64 16
  %.38 = load float, ptr %.37, align 4
  %.39 = insertelement <8 x float> poison, float %.38, i64 0
  %.40 = shufflevector <8 x float> %.39, <8 x float> poison, <8 x i32> zeroinitializer
  %.41 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.40, <8 x float> %.36, <8 x float> %.29)
  %.42 = getelementptr i8, ptr %.7, i64 20
  %.43 = load float, ptr %.42, align 4
  %.44 = insertelement <8 x float> poison, float %.43, i64 0
  %.45 = shufflevector <8 x float> %.44, <8 x float> poison, <8 x i32> zeroinitializer
  %.46 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.45, <8 x float> %.36, <8 x float> %.34)
  %.47 = getelementptr i8, ptr %.8, i64 96
  %.48 = load <8 x float>, ptr %.47, align 4
  %.49 = getelementptr i8, ptr %.7, i64 24
  %.50 = load float, ptr %.49, align 4
  %.51 = insertelement <8 x float> poison, float %.50, i64 0
  %.52 = shufflevector <8 x float> %.51, <8 x float> poison, <8 x i32> zeroinitializer
  %.53 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.52, <8 x float> %.48, <8 x float> %.41)
  %.54 = getelementptr i8, ptr %.7, i64 28
  %.55 = load float, ptr %.54, align 4
  %.56 = insertelement <8 x float> poison, float %.55, i64 0
  %.57 = shufflevector <8 x float> %.56, <8 x float> poison, <8 x i32> zeroinitializer
  %.58 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.57, <8 x float> %.48, <8 x float> %.46)
  %.59 = getelementptr i8, ptr %.7, i64 32
  %.60 = getelementptr i8, ptr %.8, i64 128
  %.61 = add nsw i64 %.6, 4
  %.62 = icmp slt i64 %.61, %.2
  br i1 %.62, label %loop.1, label %done.2
done.2:
  %.65 = phi ptr [ %a, %entry.0 ], [ %.59, %loop.1 ]
  %.66 = phi ptr [ %b, %entry.0 ], [ %.60, %loop.1 ]
  %.67 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.53, %loop.1 ]
  %.68 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.58, %loop.1 ]
  %.69 = icmp slt i64 %.2, %depth
  br i1 %.69, label %loop.3, label %done.4
loop.3:
  %.72 = phi i64 [ %.2, %done.2 ], [ %.91, %loop.3 ]
  %.73 = phi ptr [ %.65, %done.2 ], [ %.89, %loop.3 ]
  %.74 = phi ptr [ %.66, %done.2 ], [ %.90, %loop.3 ]
  %.75 = phi <8 x float> [ %.67, %done.2 ], [ %.83, %loop.3 ]
  %.76 = phi <8 x float> [ %.68, %done.2 ], [ %.88, %loop.3 ]
  %.77 = getelementptr i8, ptr %.73, i64 2048
  call void @llvm.prefetch.p0(ptr %.77, i32 0, i32 3, i32 1)
  %.79 = load <8 x float>, ptr %.74, align 4
  %.80 = load float, ptr %.73, align 4
  %.81 = insertelement <8 x float> poison, float %.80, i64 0
  %.82 = shufflevector <8 x float> %.81, <8 x float> poison, <8 x i32> zeroinitializer
  %.83 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.82, <8 x float> %.79, <8 x float> %.75)
  %.84 = getelementptr i8, ptr %.73, i64 4
  %.85 = load float, ptr %.84, align 4
  %.86 = insertelement <8 x float> poison, float %.85, i64 0
  %.87 = shufflevector <8 x float> %.86, <8 x float> poison, <8 x i32> zeroinitializer
  %.88 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.87, <8 x float> %.79, <8 x float> %.76)
  %.89 = getelementptr i8, ptr %.73, i64 8
  %.90 = getelementptr i8, ptr %.74, i64 32
  %.91 = add nsw i64 %.72, 1
  %.92 = icmp slt i64 %.91, %depth
  br i1 %.92, label %loop.3, label %done.4
done.4:
  %.95 = phi ptr [ %.65, %done.2 ], [ %.89, %loop.3 ]
  %.96 = phi ptr [ %.66, %done.2 ], [ %.90, %loop.3 ]
  %.97 = phi <8 x float> [ %.67, %done.2 ], [ %.83, %loop.3 ]
  %.98 = phi <8 x float> [ %.68, %done.2 ], [ %.88, %loop.3 ]
  %.99 = and i64 %place, 1
  %.100 = icmp sgt i64 %.99, 0
  br i1 %.100, label %then.5, label %merge.6
then.5:
  %.103 = load <8 x float>, ptr %kept, align 4
  %.104 = fadd <8 x float> %.103, %.97
  %.105 = getelementptr i8, ptr %kept, i64 32
  %.106 = load <8 x float>, ptr %.105, align 4
  %.107 = fadd <8 x float> %.106, %.98
  br label %merge.6
merge.6:
  %.110 = phi <8 x float> [ %.104, %then.5 ], [ %.97, %done.4 ]
  %.111 = phi <8 x float> [ %.107, %then.5 ], [ %.98, %done.4 ]
  %.112 = and i64 %place, 2
  %.113 = icmp sgt i64 %.112, 0
  br i1 %.113, label %then.7, label %else.9
then.7:
  %.116 = call i64 @llvm.smin.i64(i64 %count, i64 8)
  %.117 = trunc i64 %.116 to i32
  %.118 = insertelement <8 x i32> poison, i32 %.117, i64 0
  %.119 = shufflevector <8 x i32> %.118, <8 x i32> poison, <8 x i32> zeroinitializer
  %.120 = icmp slt <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>, %.119
  %.121 = load float, ptr %bias, align 4
  %.122 = insertelement <8 x float> poison, float %.121, i64 0
  %.123 = shufflevector <8 x float> %.122, <8 x float> poison, <8 x i32> zeroinitializer
  %.124 = mul i64 %line, 0
  %.125 = fadd <8 x float> %.110, %.123
  %.126 = fcmp ogt <8 x float> splat (float 0x0000000000000000), %.125
  %.127 = select <8 x i1> %.126, <8 x float> splat (float 0x0000000000000000), <8 x float> %.125
  %.128 = getelementptr i8, ptr %c, i64 %.124
  call void @llvm.masked.store.v8f32.p0(<8 x float> %.127, ptr %.128, i32 4, <8 x i1> %.120)
  %.130 = getelementptr i8, ptr %bias, i64 4
  %.131 = load float, ptr %.130, align 4
  %.132 = insertelement <8 x float> poison, float %.131, i64 0
  %.133 = shufflevector <8 x float> %.132, <8 x float> poison, <8 x i32> zeroinitializer
  %.134 = fadd <8 x float> %.111, %.133
  %.135 = fcmp ogt <8 x float> splat (float 0x0000000000000000), %.134
  %.136 = select <8 x i1> %.135, <8 x float> splat (float 0x0000000000000000), <8 x float> %.134
  %.137 = getelementptr i8, ptr %c, i64 %line
  call void @llvm.masked.store.v8f32.p0(<8 x float> %.136, ptr %.137, i32 4, <8 x i1> %.120)
  br label %merge.8
else.9:
  store <8 x float> %.110, ptr %kept, align 4
  %.142 = getelementptr i8, ptr %kept, i64 32
  store <8 x float> %.111, ptr %.142, align 4
  br label %merge.8
merge.8:
  ret void
}
